"""Pre-processing as `pipeline.json` spells it: image and boxes to the network's input.

The transforms are compiled once, when a folder is loaded, into a `Preprocessor`.  Its results
equal those of MMPose 1.3.2's own pipeline (GetBBoxCenterScale, TopdownAffine or BottomupResize,
PackPoseInputs, PoseDataPreprocessor) to the last bit for uint8 images, and those of a detector's
(Resize, Pad, Normalize) the ones of MMCV 2.1.0.  The functions that place
a box keep MMPose's order of operations and its mixture of float32 and float64 (`bbox_xyxy2cs`,
`get_warp_matrix` and `get_udp_warp_matrix` in mmpose/structures/bbox, at rotation 0): one last
bit of difference in a warp matrix is an image that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.fields import MAX_SIDE, Node, show
from posedeploy.sdk.images import COLOR_TYPES, Image

Floats = NDArray[np.floating[Any]]


def centers_and_scales(
    boxes: Floats, padding: float, input_size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Padded centers `[N, 2]` and sizes `[N, 2]` of boxes `[N, 4]`, image px, of their dtype.

    The sizes are brought to the aspect ratio of the input; `padding` is a factor on them.
    """
    scales = (boxes[:, 2:] - boxes[:, :2]) * padding
    centers = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    ratio = input_size[0] / input_size[1]
    width, height = scales[:, :1], scales[:, 1:]
    wide = width > height * ratio
    fixed = np.where(wide, np.hstack([width, width / ratio]), np.hstack([height * ratio, height]))
    return centers, fixed


def warp_matrix(
    center: Floats, scale: Floats, output_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The `[2, 3]` matrix from image px to input px for one box, without UDP.

    Three point pairs define it: the box's center, the middle of its left side, and a third at a
    right angle to them.  The points are float32, and OpenCV solves for the matrix in float64.
    """
    half_width, half_height = output_size[0] * 0.5, output_size[1] * 0.5
    source = np.empty((3, 2), np.float32)
    source[0] = center
    source[1] = np.add(center, (scale[0] * -0.5, 0.0), dtype=np.float64)
    source[2] = source[1]
    source[2, 1] += source[0, 0] - source[1, 0]
    corner = half_height + half_width
    target = np.array([[half_width, half_height], [0.0, half_height], [0.0, corner]], "float32")
    return cv2.getAffineTransform(source, target)  # type: ignore[return-value]


def udp_warp_matrix(
    center: Floats, scale: Floats, output_size: tuple[float, float]
) -> NDArray[np.float32]:
    """The same with unbiased data processing: pixels are points, so n of them span n - 1.

    Huang et al., "The Devil is in the Details" (CVPR 2020).  The matrix is float32.
    """
    matrix = np.zeros((2, 3), np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for axis in (0, 1):
            factor = (output_size[axis] - 1) / scale[axis]
            matrix[axis, axis] = factor
            matrix[axis, 1 - axis] = 0.0 * factor
            matrix[axis, 2] = factor * (-center[axis] + 0.5 * scale[axis])
    return matrix


def fit_image(
    image_size: tuple[int, int], input_size: tuple[int, int], use_udp: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.floating[Any]]]:
    """Fit a whole image into the input, aspect ratio kept, centered.

    It returns center `[2]` and scale `[2]` in image px, float32, and the matrix `[2, 3]`.
    """
    (image_w, image_h), (input_w, input_h) = image_size, input_size
    ratio = image_w / image_h
    fitted = min(input_w, input_h * ratio), min(input_h, input_w / ratio)
    if use_udp:
        center = np.array([(image_w - 1.0) / 2, (image_h - 1.0) / 2], np.float32)
        scale = np.array([image_w, image_h], np.float32)
        return center, scale, udp_warp_matrix(center, scale, fitted)
    center = np.array([image_w / 2, image_h / 2], np.float32)
    scale = np.array([image_w * input_w / fitted[0], image_h * input_h / fitted[1]], np.float32)
    return center, scale, warp_matrix(center, scale, input_size)


def resized_size(
    image_size: tuple[int, int], target: tuple[int, int], mode: str
) -> tuple[int, int]:
    """Width and height, px, that `Resize` brings an image of `image_size` to.

    Args:
        image_size: Width and height, px, as all sizes here.
        target: What `Resize` aims at.
        mode: 'stretch' is the target. 'fit' keeps the aspect ratio within it. 'keep_ratio' does
            so within the target or within it turned by 90 degrees, whichever the image is more
            like (`rescale_size` in mmcv/image/geometric.py, 2.1.0).
    """
    if mode == "stretch":
        return target
    (width, height), (most_wide, most_high) = image_size, target
    if mode == "keep_ratio" and (width > height) != (most_wide > most_high):
        most_wide, most_high = most_high, most_wide
    factor = min(most_wide / width, most_high / height)
    return max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5))


def resize_region(image: Image, size: tuple[int, int], input_size: tuple[int, int]) -> Region:
    """The region of an image that is resized to `size` and lies at the top left of the input."""
    height, width = image.shape[:2]
    factors = size[0] / width, size[1] / height
    scale = np.array([input_size[0] / factors[0], input_size[1] / factors[1]])
    whole = np.array([0, 0, width, height], np.float32)
    return Region(image, whole, scale / 2, scale, np.diag([*factors, 1.0])[:2])


def to_image(
    points: Floats, centers: Floats, scales: Floats, input_size: tuple[int, int]
) -> Floats:
    """Map points `[N, ..., 2]`, one row a box, from input px to image px, float64.

    Centers and scales `[N, 2]` are those of `centers_and_scales`.
    """
    shape = (len(points),) + (1,) * (points.ndim - 2) + (2,)
    center, scale = centers.reshape(shape), scales.reshape(shape)
    size = np.array(input_size)
    return points / size * scale + center - 0.5 * scale  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Region:
    """The part of an image that becomes one input of the network."""

    image: Image  # the image, `[H, W, 3]` uint8, BGR
    box: Floats  # `[4]` left, top, right, bottom in image px, before any padding
    center: Floats  # `[2]` (x, y) in image px
    scale: Floats  # `[2]` (width, height) in image px
    matrix: Floats  # `[2, 3]` from image px to input px


@dataclass
class Plan:
    """Settings read from the transforms, one after the other."""

    done: list[str] = field(default_factory=list)  # types of the transforms so far
    color_type: str = "color"  # how a file is read: a key of `images.COLOR_TYPES`
    padding: float = 1.25  # factor on the boxes of a top-down model
    input_size: tuple[int, int] = (0, 0)  # width and height of the network's input, px
    use_udp: bool = False  # warp with unbiased data processing
    resize: tuple[int, int] = (0, 0)  # width and height that `Resize` aims at; (0, 0) without one
    resize_mode: str = "stretch"  # of `resized_size`
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0)  # border of a whole image, in its channel order
    padded: bool = False  # `pad_value` is that of `Pad`
    pad_normalized: bool = False  # of `Pad` after `Normalize`: in the network's order and units
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # per channel, in the network's order, as is `std`
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    to_rgb: bool = False


def _only(step: Node, **allowed: object) -> None:
    """Refuse a field that is there and not the one value that can be honored."""
    for key, value in allowed.items():
        if step.has(key):
            step.at(key).one_of([value])


def _load_image(step: Node, plan: Plan) -> None:
    if step.has("color_type"):
        plan.color_type = step.at("color_type").one_of(tuple(COLOR_TYPES))
    _only(step, channel_order="bgr", to_float32=False)


def _center_scale(step: Node, plan: Plan) -> None:
    plan.padding = step.get("padding", float, 1.25)
    if not plan.padding > 0:
        raise step.at("padding").error("a number above 0")
    if step.has("image_size"):
        plan.input_size = step.size("image_size")


def _affine(step: Node, plan: Plan) -> None:
    size = step.size("image_size")
    if plan.input_size not in {(0, 0), size}:
        raise step.at("image_size").error(f"{list(plan.input_size)}, as the transform before it")
    plan.input_size = size
    plan.use_udp = step.get("use_udp", bool, False)


def _bottomup_resize(step: Node, plan: Plan) -> None:
    factor = step.get("size_factor", int, 32)
    size = step.size("input_size")
    if factor < 1 or any(side % factor for side in size):
        raise step.at("input_size").error(f"multiples of size_factor {factor}")
    _only(step, resize_mode="fit")
    if step.get("aug_scales", list, []):
        raise step.at("aug_scales").error("null: one scale an image")
    if step.has("pad_val"):
        plan.pad_value = step.numbers("pad_val", 3)
    plan.input_size = size
    plan.use_udp = step.get("use_udp", bool, False)


def _resize(step: Node, plan: Plan) -> None:
    plan.resize = _side_or_size(step, "size")
    _only(step, interpolation="bilinear", backend="cv2")
    if step.get("fit", bool, False):  # ours alone: of graphs that come without a folder
        plan.resize_mode = "fit"
    elif step.get("keep_ratio", bool, False):
        plan.resize_mode = "keep_ratio"
    else:
        plan.input_size = plan.resize


def _side_or_size(step: Node, key: str) -> tuple[int, int]:
    """The member `key`: a size [w, h], or the side of a square."""
    node = step.at(key)
    if isinstance(node.value, list):
        return step.size(key)
    (side,) = Node([node.value], node.file, node.path).integers(1, 1, MAX_SIDE, "a size in px")
    return side, side


def _pad(step: Node, plan: Plan) -> None:
    """To a size that every image gets: the graph's.

    MMDeploy's client reads `size` as height and width where MMCV has width and height; as MMCV
    has it here, which trained the model.
    """
    longer, square = max(plan.resize), plan.resize[0] == plan.resize[1]
    if step.has("size") and step.value["size"] is not None:
        size = _side_or_size(step, "size")
    elif step.get("pad_to_square", bool, False) and (square or plan.resize_mode == "stretch"):
        size = longer, longer
    elif plan.input_size == (0, 0):
        raise step.error(
            "a size, as static deploy configs of detectors write it",
            f"{show(step.value)}, so that each image has an input of another size",
        )
    else:
        divisor = step.get("size_divisor", int, 1)
        if divisor < 1:
            raise step.at("size_divisor").error("an integer from 1")
        width, height = (-(-side // divisor) * divisor for side in plan.input_size)
        size = width, height
    holds = (longer, longer) if plan.resize_mode == "keep_ratio" else plan.resize
    if size == plan.input_size:
        return
    if plan.padded or size[0] < holds[0] or size[1] < holds[1]:
        raise step.error(f"a size that holds what Resize makes: from {list(holds)}", show(size))
    plan.input_size, plan.padded = size, True
    plan.pad_value = _pad_value(step)
    plan.pad_normalized = "Normalize" in plan.done


def _pad_value(step: Node) -> tuple[float, ...]:
    """`pad_val`: a number, three, or an object with either as 'img'; 0 without one."""
    if not step.has("pad_val"):
        return 0.0, 0.0, 0.0
    owner, key = step, "pad_val"
    if isinstance(step.value["pad_val"], dict):
        owner, key = step.at("pad_val"), "img"
    if isinstance(owner.at(key).value, list):
        return owner.numbers(key, 3)
    return (float(owner.at(key).is_a(float)),) * 3


def _normalize(step: Node, plan: Plan) -> None:
    plan.mean, plan.std = step.numbers("mean", 3), step.numbers("std", 3)
    if not all(abs(value) > 1e-12 for value in plan.std):
        raise step.at("std").error("three numbers other than 0")
    plan.to_rgb = step.get("to_rgb", bool, True)  # the client's default
    _only(step, to_float=True)


def _no_fields(step: Node, plan: Plan) -> None:
    """Fields that the client does not read either."""
    del step, plan


def _image_keys(step: Node, plan: Plan) -> None:
    del plan
    keys = step.at("keys")
    if "img" not in keys.is_a(list):
        raise keys.error("an array with 'img'")


# Each says alone which part of the image goes where: a pipeline has one of them
PLACING = ("BottomupResize", "Resize", "TopDownAffine")

# ---- modify this table to add a transform --------------------------------------------------
# name in pipeline.json -> (reader of its fields, transforms of which one must come before it,
# how often it may be there)
# fmt: off
TRANSFORMS: dict[str, tuple[Callable[[Node, Plan], None], tuple[str, ...], int]] = {
    "BottomupResize":            (_bottomup_resize, ("LoadImageFromFile",), 1),
    "Collect":                   (_image_keys,      ("ImageToTensor", "DefaultFormatBundle"), 1),
    "DefaultFormatBundle":       (_no_fields,       ("Normalize", "Resize"), 1),
    "ImageToTensor":             (_image_keys,      ("Normalize",), 1),
    "LoadImageFromFile":         (_load_image,      (), 1),
    "Normalize":                 (_normalize,       PLACING, 1),
    "Pad":                       (_pad,             ("Resize",), 2),
    "Resize":                    (_resize,          ("LoadImageFromFile",), 1),
    "TopDownAffine":             (_affine,          ("TopDownGetBboxCenterScale",), 1),
    "TopDownGetBboxCenterScale": (_center_scale,    ("LoadImageFromFile",), 1),
}
# fmt: on
# --------------------------------------------------------------------------------------------


class Preprocessor:
    """Compiled transforms: `regions` finds what to cut out, `tensor` cuts and normalizes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.top_down = "TopDownAffine" in plan.done
        self.input_size = plan.input_size
        self.color_type = plan.color_type
        # A uint8 image has 256 values a channel: (value - mean) / std in float32, as torch
        # computes it, once for each of them.
        values = np.arange(256, dtype=np.float32)
        self._tables = [
            (values - np.float32(mean)) / np.float32(std)
            for mean, std in zip(plan.mean, plan.std, strict=True)
        ]
        fill: Floats = np.array(plan.pad_value)
        if not plan.pad_normalized:
            fill = fill[::-1] if plan.to_rgb else fill
            fill = (fill - np.array(plan.mean)) / np.array(plan.std)
        self._fill = fill.tolist()  # what `Pad` leaves in the input

    def regions(self, image: Image, boxes: Floats | None) -> list[Region]:
        """What to cut out: one region for each box `[N, 4]` in image px, or the whole image."""
        plan, (height, width) = self._plan, image.shape[:2]
        whole = np.array([[0, 0, width, height]], np.float32)
        if "Resize" in plan.done:
            size = resized_size((width, height), plan.resize, plan.resize_mode)
            return [resize_region(image, size, plan.input_size)]
        if not self.top_down:
            fitted = fit_image((width, height), plan.input_size, plan.use_udp)
            return [Region(image, whole[0], *fitted)]
        boxes = whole if boxes is None else boxes
        with np.errstate(over="ignore", invalid="ignore"):
            centers, scales = centers_and_scales(boxes, plan.padding, plan.input_size)
            matrix = udp_warp_matrix if plan.use_udp else warp_matrix
            return [
                Region(image, box, center, scale, matrix(center, scale, plan.input_size))
                for box, center, scale in zip(boxes, centers, scales, strict=True)
            ]

    def crop(self, region: Region) -> Image:
        """The region, `[h, w, 3]` uint8, still in the image's channel order: warped, or resized.

        What is resized is not padded yet: at most as large as the input.
        """
        border = (0.0, 0.0, 0.0) if self.top_down else self._plan.pad_value
        try:
            if "Resize" in self._plan.done:
                height, width = region.image.shape[:2]
                size = resized_size((width, height), self._plan.resize, self._plan.resize_mode)
                return cv2.resize(region.image, size)  # type: ignore[return-value]
            return cv2.warpAffine(  # type: ignore[return-value]
                region.image, region.matrix, self.input_size,
                flags=cv2.INTER_LINEAR, borderValue=border,
            )  # fmt: skip
        except cv2.error as error:
            height, width = region.image.shape[:2]
            found = f"{width}x{height} px, which OpenCV cannot warp ({error.err})"
            next_step = "Make the image smaller."
            raise BadInputError("image", found, "sides below 32767 px", next_step) from error

    def tensor(self, regions: Sequence[Region]) -> NDArray[np.float32]:
        """The network's input for these regions: `[N, 3, h, w]` float32, normalized."""
        width, height = self.input_size
        result = np.empty((len(regions), 3, height, width), np.float32)
        for row, region in zip(result, regions, strict=True):
            planes = cv2.split(self.crop(region))
            if self._plan.to_rgb:
                planes = planes[::-1]
            for plane, table, fill, out in zip(planes, self._tables, self._fill, row, strict=True):
                high, wide = plane.shape
                cv2.LUT(plane, table, dst=out[:high, :wide])
                out[high:], out[:high, wide:] = fill, fill
        return result


def compile_transforms(transforms: Sequence[Node]) -> Preprocessor:
    """Compile the transforms of a folder.

    A BadInputError names one that is unknown or too early, or a field that cannot be honored.
    """
    plan = Plan()
    for step in transforms:
        kind = step.at("type")
        name = kind.is_a(str)
        if name not in TRANSFORMS:
            raise kind.error(f"one of {', '.join(TRANSFORMS)}")
        read, before, times = TRANSFORMS[name]
        if plan.done.count(name) >= times or (before and not set(before) & set(plan.done)):
            often = "once" if times == 1 else f"at most {times} times"
            raise kind.error(f"{often}, after {' or '.join(before) or 'none'}")
        if name in PLACING and set(PLACING) & set(plan.done):
            raise kind.error(f"one of {', '.join(PLACING)} alone")
        read(step, plan)
        plan.done.append(name)
    if not plan.done or plan.done[-1] != "Collect" or plan.input_size == (0, 0):
        raise BadInputError(
            "pipeline.json: transforms", ", ".join(plan.done) or "none",
            "LoadImageFromFile, then the transforms of a pose or detection model, to Collect",
            "Convert the model again.",
        )  # fmt: skip
    return Preprocessor(plan)
