"""Pre-processing as `pipeline.json` spells it: image and boxes to the network's input.

The transforms are compiled once, when a folder is loaded, into a `Preprocessor`.  Its results
equal those of MMPose 1.3.2's own pipeline (GetBBoxCenterScale, TopdownAffine or BottomupResize,
PackPoseInputs, PoseDataPreprocessor) to the last bit for uint8 images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk import geometry
from posedeploy.sdk.fields import Node
from posedeploy.sdk.geometry import Floats
from posedeploy.sdk.images import Image


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
    padding: float = 1.25  # factor on the boxes of a top-down model
    input_size: tuple[int, int] = (0, 0)  # width and height of the network's input, px
    use_udp: bool = False  # warp with unbiased data processing
    pad_value: tuple[float, ...] = (0.0, 0.0, 0.0)  # border of a whole image, in its channel order
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # per channel, in the network's order, as is `std`
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    to_rgb: bool = False


def _only(step: Node, **allowed: object) -> None:
    """Refuse a field that is there and not the one value that can be honored."""
    for key, value in allowed.items():
        if step.has(key):
            step.at(key).one_of([value])


def _load_image(step: Node, plan: Plan) -> None:
    del plan
    _only(step, color_type="color", channel_order="bgr", to_float32=False)


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


def _normalize(step: Node, plan: Plan) -> None:
    plan.mean, plan.std = step.numbers("mean", 3), step.numbers("std", 3)
    if not all(abs(value) > 1e-12 for value in plan.std):
        raise step.at("std").error("three numbers other than 0")
    plan.to_rgb = step.get("to_rgb", bool, True)  # the client's default
    _only(step, to_float=True)


def _image_keys(step: Node, plan: Plan) -> None:
    del plan
    keys = step.at("keys")
    if "img" not in keys.is_a(list):
        raise keys.error("an array with 'img'")


# ---- modify this table to add a transform --------------------------------------------------
# name in pipeline.json -> (reader of its fields, transforms of which one must come before it)
# fmt: off
TRANSFORMS: dict[str, tuple[Callable[[Node, Plan], None], tuple[str, ...]]] = {
    "BottomupResize":            (_bottomup_resize, ("LoadImageFromFile",)),
    "Collect":                   (_image_keys,      ("ImageToTensor",)),
    "ImageToTensor":             (_image_keys,      ("Normalize",)),
    "LoadImageFromFile":         (_load_image,      ()),
    "Normalize":                 (_normalize,       ("TopDownAffine", "BottomupResize")),
    "TopDownAffine":             (_affine,          ("TopDownGetBboxCenterScale",)),
    "TopDownGetBboxCenterScale": (_center_scale,    ("LoadImageFromFile",)),
}
# fmt: on
# --------------------------------------------------------------------------------------------


class Preprocessor:
    """Compiled transforms: `regions` finds what to cut out, `tensor` cuts and normalizes."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.top_down = "TopDownAffine" in plan.done
        self.input_size = plan.input_size
        # A uint8 image has 256 values a channel: (value - mean) / std in float32, as torch
        # computes it, once for each of them.
        values = np.arange(256, dtype=np.float32)
        self._tables = [
            (values - np.float32(mean)) / np.float32(std)
            for mean, std in zip(plan.mean, plan.std, strict=True)
        ]

    def regions(self, image: Image, boxes: Floats | None) -> list[Region]:
        """What to cut out: one region for each box `[N, 4]` in image px, or the whole image."""
        plan, (height, width) = self._plan, image.shape[:2]
        whole = np.array([[0, 0, width, height]], np.float32)
        if not self.top_down:
            fitted = geometry.fit_image((width, height), plan.input_size, plan.use_udp)
            return [Region(image, whole[0], *fitted)]
        boxes = whole if boxes is None else boxes
        with np.errstate(over="ignore", invalid="ignore"):
            centers, scales = geometry.centers_and_scales(boxes, plan.padding, plan.input_size)
            matrix = geometry.udp_warp_matrix if plan.use_udp else geometry.warp_matrix
            return [
                Region(image, box, center, scale, matrix(center, scale, plan.input_size))
                for box, center, scale in zip(boxes, centers, scales, strict=True)
            ]

    def crop(self, region: Region) -> Image:
        """The warped region, `[h, w, 3]` uint8, still in the image's channel order."""
        border = (0.0, 0.0, 0.0) if self.top_down else self._plan.pad_value
        try:
            return cv2.warpAffine(  # type: ignore[return-value]
                region.image, region.matrix, self.input_size,
                flags=cv2.INTER_LINEAR, borderValue=border,
            )  # fmt: skip
        except cv2.error as error:
            height, width = region.image.shape[:2]
            raise BadInputError(
                "image", f"{width}x{height} px, which OpenCV cannot warp ({error.err})",
                "sides below 32767 px", "Make the image smaller.",
            ) from error  # fmt: skip

    def tensor(self, regions: Sequence[Region]) -> NDArray[np.float32]:
        """The network's input for these regions: `[N, 3, h, w]` float32, normalized."""
        width, height = self.input_size
        result = np.empty((len(regions), 3, height, width), np.float32)
        for row, region in zip(result, regions, strict=True):
            planes = cv2.split(self.crop(region))
            if self._plan.to_rgb:
                planes = planes[::-1]
            for plane, table, out in zip(planes, self._tables, row, strict=True):
                cv2.LUT(plane, table, dst=out)
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
        read, before = TRANSFORMS[name]
        if name in plan.done or (before and not set(before) & set(plan.done)):
            raise kind.error(f"once, after {' or '.join(before) or 'none'}")
        read(step, plan)
        plan.done.append(name)
    if not plan.done or plan.done[-1] != "Collect" or plan.input_size == (0, 0):
        raise BadInputError(
            "pipeline.json: transforms", ", ".join(plan.done) or "none",
            "LoadImageFromFile, then the transforms of a top-down or bottom-up model, to Collect",
            "Convert the model again.",
        )  # fmt: skip
    return Preprocessor(plan)
