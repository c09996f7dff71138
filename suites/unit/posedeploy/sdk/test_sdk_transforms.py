"""Pre-processing against MMPose's own pipeline: equal to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from posedeploy.errors import BadInputError
from posedeploy.sdk.fields import Node
from posedeploy.sdk.images import check_image
from posedeploy.sdk.transforms import Preprocessor, compile_transforms

pytestmark = pytest.mark.usefixtures("_mmpose")

IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "to_rgb": True}
PLAIN = {"mean": [0, 0, 0], "std": [1, 1, 1], "to_rgb": False}
TAIL = [{"type": "ImageToTensor", "keys": ["img"]}, {"type": "Collect", "keys": ["img"]}]
LOAD = {"type": "LoadImageFromFile"}


def compiled(*steps: dict[str, Any]) -> Preprocessor:
    return compile_transforms(
        [Node(step, "pipeline.json", f"$.transforms[{i}]") for i, step in enumerate(steps)]
    )


def top_down(size: tuple[int, int], padding: float = 1.25, use_udp: bool = False) -> Preprocessor:
    box = {"type": "TopDownGetBboxCenterScale", "padding": padding, "image_size": list(size)}
    warp = {"type": "TopDownAffine", "image_size": list(size), "use_udp": use_udp}
    return compiled(LOAD, box, warp, {"type": "Normalize", **IMAGENET}, *TAIL)


def bottom_up(size: tuple[int, int], use_udp: bool = False, **norm: Any) -> Preprocessor:
    resize = {"type": "BottomupResize", "input_size": list(size), "pad_val": [114, 115, 116]}
    normalize = {"type": "Normalize", **(norm or PLAIN)}
    return compiled(LOAD, {**resize, "use_udp": use_udp}, normalize, *TAIL)


@st.composite
def images(draw: st.DrawFn, side: int = 200) -> np.ndarray[Any, Any]:
    shape = draw(st.tuples(st.integers(1, side), st.integers(1, side)))
    seed = draw(st.integers(0, 2**16))
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


# inside, across and outside the border, tiny, huge, of no size and inside out
COORDINATES = st.one_of(
    st.floats(-50, 250, width=32),
    st.floats(-1e6, 1e6, width=32),
    st.sampled_from([0.0, -0.0, 1e-30, 0.5, 100.0, 1e9]),
)
SIZES = st.sampled_from([(192, 256), (256, 256), (288, 384), (32, 17)])


@given(
    image=images(),
    box=st.lists(COORDINATES, min_size=4, max_size=4),
    dtype=st.sampled_from([np.float32, np.float64]),
    size=SIZES,
    padding=st.sampled_from([1.25, 1.0, 1]),
    use_udp=st.booleans(),
)
def test_top_down_equals_mmpose(
    image: Any, box: list[float], dtype: Any, size: Any, padding: float, use_udp: bool
) -> None:
    from mmpose.datasets.transforms import GetBBoxCenterScale, TopdownAffine

    boxes = np.array([box], dtype)
    with np.errstate(all="ignore"):
        reference = GetBBoxCenterScale(padding).transform({"img": image, "bbox": boxes})
        reference = TopdownAffine(size, use_udp).transform(reference)
    ours = top_down(size, padding, use_udp)
    (region,) = ours.regions(image, boxes)
    np.testing.assert_array_equal(ours.crop(region), reference["img"])
    np.testing.assert_array_equal(region.center, reference["input_center"])
    np.testing.assert_array_equal(region.scale, reference["input_scale"])
    assert region.center.dtype == reference["input_center"].dtype


@given(
    image=images(300),
    size=st.sampled_from([(64, 64), (416, 416), (640, 416), (96, 160)]),
    use_udp=st.booleans(),
)
def test_bottom_up_equals_mmpose(image: Any, size: tuple[int, int], use_udp: bool) -> None:
    from mmpose.datasets.transforms import BottomupResize

    reference = BottomupResize(size, pad_val=(114, 115, 116), use_udp=use_udp).transform(
        {"img": image, "ori_shape": image.shape[:2]}
    )
    ours = bottom_up(size, use_udp)
    (region,) = ours.regions(image, None)
    np.testing.assert_array_equal(ours.crop(region), reference["img"])
    np.testing.assert_array_equal(region.center, reference["input_center"])
    np.testing.assert_array_equal(region.scale, reference["input_scale"])


@pytest.mark.parametrize("norm", [IMAGENET, PLAIN, {**IMAGENET, "to_rgb": False}])
def test_normalization_equals_mmpose_for_every_value(norm: dict[str, Any]) -> None:
    import torch
    from mmpose.models.data_preprocessors import PoseDataPreprocessor

    values = np.arange(256, dtype=np.uint8)
    image = np.stack([np.resize(np.roll(values, i), (64, 64)) for i in range(3)], axis=-1)
    ours = bottom_up((64, 64), **norm)
    tensor = ours.tensor(ours.regions(image, None))
    reference = PoseDataPreprocessor(norm["mean"], norm["std"], 32, bgr_to_rgb=norm["to_rgb"])
    planes = torch.from_numpy(image.transpose(2, 0, 1).copy())
    expected = reference({"inputs": [planes], "data_samples": []})["inputs"].numpy()
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, expected)
    assert len(np.unique(tensor[0, 0])) == 256


BUNDLE: list[dict[str, Any]] = [{"type": "DefaultFormatBundle"}, TAIL[1]]


@given(
    image=images(300),
    size=st.sampled_from([(64, 64), (320, 320), (96, 160), (160, 96)]),
    keep_ratio=st.booleans(),
    to_rgb=st.booleans(),
    normalize_first=st.booleans(),
)
def test_a_detectors_pipeline_equals_mmcv(
    image: Any, size: tuple[int, int], keep_ratio: bool, to_rgb: bool, normalize_first: bool
) -> None:
    """Resize and Pad of mmcv, which mmdet's inherit from; boxes go back as mmdet rescales them."""
    from mmcv.transforms import Normalize, Pad, Resize

    side = max(size)
    assume(not keep_ratio or min(image.shape[:2]) * side >= max(image.shape[:2]))  # mmcv fails
    resize = {"type": "Resize", "size": list(size), "keep_ratio": keep_ratio}
    pad = {"type": "Pad", "size": [side, side], "pad_val": {"img": [114, 115, 116]}}
    norm = {"type": "Normalize", **IMAGENET, "to_rgb": to_rgb}
    order: list[dict[str, Any]] = [norm, pad] if normalize_first else [pad, norm]
    ours = compiled(LOAD, resize, *order, *BUNDLE)
    (region,) = ours.regions(image, None)
    tensor = ours.tensor([region])[0]

    steps = [
        Pad(size=(side, side), pad_val={"img": (114, 115, 116), "seg": 0}),
        Normalize(IMAGENET["mean"], IMAGENET["std"], to_rgb),
    ]
    results = Resize(scale=size, keep_ratio=keep_ratio).transform({"img": image})
    for step in reversed(steps) if normalize_first else steps:
        results = step.transform(results)
    np.testing.assert_allclose(tensor.transpose(1, 2, 0), results["img"], atol=1e-5)
    factors = np.array(results["scale_factor"])
    np.testing.assert_allclose(region.scale * factors, [side, side])
    np.testing.assert_allclose(region.center * 2, region.scale)


def test_several_boxes_equal_each_alone() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    boxes = rng.uniform(-20, 130, (5, 4))
    ours = top_down((48, 64))
    together = ours.tensor(ours.regions(image, boxes))
    alone = [ours.tensor(ours.regions(image, box[None])) for box in boxes]
    np.testing.assert_array_equal(together, np.concatenate(alone))


def test_no_box_is_the_whole_image() -> None:
    image = np.zeros((30, 50, 3), np.uint8)
    (region,) = top_down((48, 64)).regions(image, None)
    assert region.center.tolist() == [25.0, 15.0]
    assert region.box.tolist() == [0, 0, 50, 30]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        "image.jpg",
        None,
    ],
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(BadInputError, match="a uint8 array"):
        check_image(image)


def test_an_image_that_opencv_cannot_warp_is_refused() -> None:
    ours = top_down((48, 64))
    # only some builds of OpenCV refuse the size; five channels are refused by all of them
    (region,) = ours.regions(np.zeros((1, 40_000, 5), np.uint8), None)
    with pytest.raises(BadInputError, match="40000x1 px"):
        ours.crop(region)


BOX = {"type": "TopDownGetBboxCenterScale", "image_size": [48, 64]}
WARP = {"type": "TopDownAffine", "image_size": [48, 64]}
NORM = {"type": "Normalize", **IMAGENET}
RESIZE = {"type": "BottomupResize", "input_size": [64, 64]}


STRETCH = {"type": "Resize", "size": [64, 48]}
FIT = {"type": "Resize", "size": [64, 64], "keep_ratio": True}
PAD = {"type": "Pad", "size": [64, 96], "pad_val": 114}
DIVIDE = {"type": "Pad", "size_divisor": 32}
SQUARE = {"type": "Pad", "pad_to_square": True, "pad_val": 114}


@pytest.mark.parametrize(
    ("steps", "size"),
    [
        ([STRETCH, NORM], (64, 48)),
        ([STRETCH, NORM, DIVIDE], (64, 64)),
        ([FIT, PAD, NORM], (64, 96)),
        ([FIT, PAD, NORM, DIVIDE], (64, 96)),  # as MMDeploy writes RTMDet
        ([FIT, SQUARE, NORM, {"type": "Pad", "size_divisor": 1}], (64, 64)),  # and YOLOX
        ([{**FIT, "size": 64}, {**PAD, "size": 96}], (96, 96)),  # and its 0.x without Normalize
    ],
)
def test_the_input_of_a_detector_has_one_size(steps: list[Any], size: tuple[int, int]) -> None:
    ours = compiled(LOAD, *steps, *BUNDLE)
    assert ours.input_size == size
    for height, width in ((30, 50), (200, 3)):
        image = np.zeros((height, width, 3), np.uint8)
        assert ours.tensor(ours.regions(image, None)).shape == (1, 3, *size[::-1])


def test_how_a_file_is_read_is_the_first_transforms() -> None:
    unturned = {**LOAD, "color_type": "color_ignore_orientation"}
    for load, expected in ((LOAD, "color"), (unturned, "color_ignore_orientation")):
        assert compiled(load, BOX, WARP, NORM, *TAIL).color_type == expected


@pytest.mark.parametrize(
    ("steps", "failure"),
    [
        ([], "transforms"),
        ([LOAD, BOX, WARP, NORM, TAIL[0]], "Collect"),
        ([LOAD, WARP, BOX, NORM, *TAIL], "after TopDownGetBboxCenterScale"),
        ([LOAD, LOAD, BOX, WARP, NORM, *TAIL], r"transforms\[1\].type"),
        ([LOAD, BOX, WARP, {"type": "Flip"}, *TAIL], "'Flip'"),
        ([LOAD, {**BOX, "padding": 0}, WARP, NORM, *TAIL], "padding"),
        ([LOAD, {**BOX, "padding": "1"}, WARP, NORM, *TAIL], "a number"),
        ([LOAD, BOX, {**WARP, "image_size": [48, 65]}, NORM, *TAIL], "image_size"),
        ([LOAD, BOX, {**WARP, "image_size": [48]}, NORM, *TAIL], "image_size"),
        ([LOAD, BOX, {**WARP, "image_size": [0, 64]}, NORM, *TAIL], "image_size"),
        ([LOAD, BOX, {**WARP, "use_udp": 1}, NORM, *TAIL], "true or false"),
        ([LOAD, BOX, WARP, {**NORM, "std": [1, 0, 1]}, *TAIL], "std"),
        ([LOAD, BOX, WARP, {**NORM, "mean": [1, 2]}, *TAIL], "mean"),
        ([LOAD, BOX, WARP, {**NORM, "mean": [1, 2, 1e30]}, *TAIL], "mean"),
        ([LOAD, BOX, WARP, {**NORM, "to_float": False}, *TAIL], "to_float"),
        ([{**LOAD, "color_type": "grayscale"}, BOX, WARP, NORM, *TAIL], "color_type"),
        ([LOAD, {**RESIZE, "input_size": [65, 64]}, NORM, *TAIL], "size_factor"),
        ([LOAD, {**RESIZE, "size_factor": 0}, NORM, *TAIL], "size_factor"),
        ([LOAD, {**RESIZE, "resize_mode": "expand"}, NORM, *TAIL], "resize_mode"),
        ([LOAD, {**RESIZE, "aug_scales": [0.5]}, NORM, *TAIL], "aug_scales"),
        ([LOAD, RESIZE, NORM, {"type": "ImageToTensor", "keys": []}, TAIL[1]], "'img'"),
        ([LOAD, FIT, NORM, *BUNDLE], "transforms"),
        ([LOAD, FIT, NORM, DIVIDE, *BUNDLE], "an input of another size"),
        ([LOAD, {**FIT, "size": [64, 48]}, SQUARE, NORM, *BUNDLE], "an input of another size"),
        ([LOAD, FIT, {**PAD, "size": [64, 32]}, NORM, *BUNDLE], "holds what Resize makes"),
        ([LOAD, FIT, {**PAD, "size": [64, 70]}, NORM, DIVIDE, *BUNDLE], "holds what Resize makes"),
        ([LOAD, FIT, PAD, NORM, DIVIDE, DIVIDE, *BUNDLE], "at most 2 times"),
        ([LOAD, STRETCH, {**DIVIDE, "size_divisor": 0}, NORM, *BUNDLE], "size_divisor"),
        ([LOAD, FIT, {**PAD, "pad_val": [1, 2]}, NORM, *BUNDLE], "an array of 3 numbers"),
        ([LOAD, FIT, {**PAD, "pad_val": {}}, NORM, *BUNDLE], "'img'"),
        ([LOAD, {**FIT, "size": 0}, PAD, NORM, *BUNDLE], "a size in px"),
        ([LOAD, {**FIT, "interpolation": "area"}, PAD, NORM, *BUNDLE], "bilinear"),
        ([LOAD, PAD, FIT, NORM, *BUNDLE], "after Resize"),
        ([LOAD, STRETCH, RESIZE, NORM, *TAIL], "one of BottomupResize, Resize, TopDownAffine"),
        ([LOAD, RESIZE, BOX, WARP, NORM, *TAIL], "one of BottomupResize, Resize, TopDownAffine"),
    ],
)
def test_transforms_that_cannot_be_honored_are_refused(
    steps: list[dict[str, Any]], failure: str
) -> None:
    with pytest.raises(BadInputError, match=failure):
        compiled(*steps)
