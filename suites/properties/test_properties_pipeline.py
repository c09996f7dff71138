"""Whatever the image, the crop and the batch: the deployed model computes what PyTorch does."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fixtures.deployed import Deployed, images, samples
from poseconform.compare.metrics import tensor_error
from poseconform.compare.tolerances import Allowed, allowed_error, headroom, tolerance_for
from poseconform.reference.codecs import decode_outputs, simcc_gaps
from poseconform.reference.errors import REF_ERRORS
from poseconform.reference.values import Sample

Make = Callable[[str], Deployed]
Floats = NDArray[np.floating]
TOP_DOWN, BOTTOM_UP = "rtmpose_t", "yoloxpose_tiny"
TABLE_ROW = tolerance_for("onnxruntime", "fp32")
batches = st.lists(samples(), min_size=1, max_size=6)


def forward(model: torch.nn.Module, inputs: torch.Tensor) -> dict[str, Floats]:
    """`simcc_x` and `simcc_y` of mmpose's model, float64 arrays."""
    with torch.no_grad():
        outputs = model.head.forward(model.extract_feat(inputs))  # type: ignore[operator,union-attr]
    return {n: t.double().numpy() for n, t in zip(("simcc_x", "simcc_y"), outputs, strict=True)}


def truth_and_limits(
    one: Deployed, inputs: NDArray[np.float32]
) -> tuple[dict[str, Floats], dict[str, Allowed]]:
    """What PyTorch computes in float64, and how far off the judge's table allows to be."""
    batch = torch.from_numpy(inputs)
    truth = forward(copy.deepcopy(one.model).double(), batch.double())
    errors = {name: np.zeros_like(values) for name, values in truth.items()}
    for run in REF_ERRORS["fp32"]:
        with run(one.model) as (ready, cast):
            for name, values in forward(ready, cast(batch)).items():
                errors[name] = np.maximum(errors[name], np.abs(values - truth[name]))
    limits = {
        name: allowed_error(
            TABLE_ROW,
            float(np.abs(truth[name]).max()),
            float(np.sqrt(np.square(truth[name]).mean())),
            float(error.max()),
            float(np.sqrt(np.square(error).mean())),
        )
        for name, error in errors.items()
    }
    return truth, limits


@pytest.mark.parametrize("name", [TOP_DOWN, BOTTOM_UP])
@given(sample=samples())
def test_any_crop_of_any_image_is_prepared_as_mmpose_does(
    name: str, sample: Sample, deployed: Make
) -> None:
    one = deployed(name)
    boxes = np.asarray([sample.bbox], np.float32) if name == TOP_DOWN else None
    ours = one.pre.tensor(one.pre.regions(sample.image, boxes))
    np.testing.assert_array_equal(ours, one.prepare([sample]))


@given(group=batches)
def test_a_batch_of_any_size_and_content_is_what_pytorch_computes(
    group: list[Sample], deployed: Make
) -> None:
    one = deployed(TOP_DOWN)
    inputs = one.prepare(group)
    truth, limits = truth_and_limits(one, inputs)
    outputs = one.run(inputs)
    for name, values in truth.items():
        error = tensor_error(outputs[name], values)
        assert headroom(error.max, error.rms, limits[name]) <= 1, name


@given(group=batches)
def test_keypoints_are_mmposes_but_for_near_ties(group: list[Sample], deployed: Make) -> None:
    one = deployed(TOP_DOWN)
    truth, limits = truth_and_limits(one, one.prepare(group))
    codec = one.model.head.decoder
    expected, _ = decode_outputs(codec, truth)
    gaps, _ = simcc_gaps(codec, {name: array.astype(np.float64) for name, array in truth.items()})
    sure = gaps > 2 * max(limit.max for limit in limits.values())
    detected = one.detector.detect_batch([s.image for s in group], [[s.bbox] for s in group])
    width, height = one.detector.input_size
    for i, sample in enumerate(group):
        (region,) = one.pre.regions(sample.image, np.asarray([sample.bbox], np.float32))
        size = np.asarray(region.scale, np.float64)
        image = expected[i] / (width, height) * size + region.center - size / 2
        off = np.abs(detected[i].keypoints[0, :, :2] - image) / size * (width, height)
        assert off[sure[i]].max(initial=0) <= 0.01, "input px"


@pytest.mark.parametrize("name", [TOP_DOWN, BOTTOM_UP])
@given(group=batches, seed=st.integers(0, 2**32))
def test_a_permuted_batch_permutes_the_outputs(
    name: str, group: list[Sample], seed: int, deployed: Make
) -> None:
    one = deployed(name)
    inputs = one.prepare(group)
    order = np.random.default_rng(seed).permutation(len(group))
    outputs, permuted = one.run(inputs), one.run(inputs[order])
    for output, values in outputs.items():
        scale = float(np.abs(values).max())
        np.testing.assert_allclose(permuted[output], values[order], rtol=0, atol=1e-6 * scale)


@given(group=batches, size=st.integers(1, 4))
def test_how_images_are_batched_does_not_matter(
    group: list[Sample], size: int, deployed: Make
) -> None:
    one = deployed(TOP_DOWN)
    inputs = one.prepare(group)
    whole = one.run(inputs)
    parts = [one.run(inputs[i : i + size]) for i in range(0, len(inputs), size)]
    for output, values in whole.items():
        joined = np.concatenate([part[output] for part in parts])
        scale = float(np.abs(values).max())
        np.testing.assert_allclose(joined, values, rtol=0, atol=1e-6 * scale)


@given(
    color=st.integers(0, 255),
    place=st.tuples(st.integers(0, 900), st.integers(0, 900)),
    start=st.tuples(st.integers(0, 900), st.integers(0, 900)),
    size=st.tuples(st.integers(4, 300), st.integers(4, 300)),
)
def test_a_box_that_moves_moves_the_keypoints(
    color: int,
    place: tuple[int, int],
    start: tuple[int, int],
    size: tuple[int, int],
    deployed: Make,
) -> None:
    """On a image that looks the same everywhere, so that nothing but the box changes."""
    one = deployed(TOP_DOWN)
    image = np.full((2600, 2600, 3), color, np.uint8)
    boxes = [[700 + x, 700 + y, 700 + x + size[0], 700 + y + size[1]] for x, y in (start, place)]
    first, second = one.detector(image, boxes)
    moved = np.subtract(place, start)
    np.testing.assert_allclose(
        second[:, :2] - first[:, :2], np.tile(moved, (len(first), 1)), atol=2e-3
    )
    np.testing.assert_array_equal(first[:, 2], second[:, 2])


@given(image=images())
def test_a_detector_answers_any_image_with_finite_numbers(
    image: NDArray[np.uint8], deployed: Make
) -> None:
    one = deployed(BOTTOM_UP)
    poses = one.detector.detect(image)
    for values in (poses.keypoints, poses.boxes, poses.scores):
        assert np.isfinite(values).all()
    assert (np.diff(poses.scores) <= 0).all()
