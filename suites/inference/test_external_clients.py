"""Clients that people already have read our folders and find what `PoseDetector` finds.

The crops are ones on which the clients' different cropping is exact: the padded box is a region
of whole pixels of just the network's input size, so nobody resamples.  There the answers have to
agree to `EXACT_PX`; what differs beyond that is decoding, and has a name below.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.detector_folders import detector_of_pose_model, yolox_graph
from fixtures.images import photograph
from fixtures.mmdeploy_folders import mmdeploy_folder
from poseconform.isolation.child import SINGLE_THREAD, Child
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell

pytestmark = [
    pytest.mark.external,
    pytest.mark.stage("sdk"),
    pytest.mark.flows(backend="onnxruntime", precision="fp32", shape_mode="dynamic"),
]

# px. The clients bring other ONNX Runtimes (mmdeploy-runtime 1.15): sums in another order move a
# score by 1.3e-5 and no peak on these images. Measured, at most: mmdeploy-runtime 1.6e-5 px
# over the six families, rtmlib 0 px, one client on two folders 0 px.
EXACT_PX = 0.01
SCORE = 1e-4
PADDING = 1.25  # of GetBBoxCenterScale in the configs of the six top-down families
STRIDE = 4  # input px a heatmap cell, in each of the heatmap families
PLACES = ((30, 40), (100, 101), (0, 0), (57, 13))  # corners of crops, image px
CALL_SECONDS = 120.0


def needs(package: str) -> None:
    """Skip with a code where a client is not installed; fail where it is required."""
    if importlib.util.find_spec(package) is not None:
        return
    reason = f"unavailable:not-installed: no package {package}; see requirements/clients.txt"
    if os.environ.get("POSECONFORM_REQUIRE_CLIENTS"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    """A fresh process for one client: two of them would bring two ONNX Runtimes into one."""
    with Child(tmp_path / "client.log", SINGLE_THREAD) as started:
        yield started


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Child]:
    """Another one, for `PoseDetector`."""
    with Child(tmp_path / "ours.log", SINGLE_THREAD) as started:
        yield started


def ask(process: Child, client: str, *args: Any) -> NDArray[np.float32]:
    found: NDArray[np.float32] = process.call(
        f"poseconform.subject.clients:{client}", *args, timeout=CALL_SECONDS
    )
    return found


def exact_boxes(size: tuple[int, int]) -> list[tuple[float, float, float, float]]:
    """Boxes whose padded region is `size` px large and begins at a whole pixel of the image."""
    rest = (1 - 1 / PADDING) / 2
    left, top = size[0] * rest, size[1] * rest
    return [
        (x + left, y + top, x + size[0] - left, y + size[1] - top) for x, y in PLACES
    ]  # fmt: skip


def input_size(cell: Cell) -> tuple[int, int]:
    height, width = cell.model.shape
    return width, height


def refined_otherwise(keypoints: NDArray[np.float32], folder: Path) -> NDArray[np.bool_]:
    """Which keypoints `[n, K]` the client refines otherwise, as it decodes an MSRA heatmap.

    It moves a peak by a quarter cell only where the peak lies in neither the first two cells nor
    the last of *both* axes; MMPose decides for each axis, and leaves out no more than the first
    cell of the other.  So a peak in the second or the last cell moves in MMPose alone.
    """
    facts = json.loads((folder / "detail.json").read_text(encoding="utf-8"))["posedeploy"]["model"]
    if facts["codec"]["type"] != "MSRAHeatmap":
        return np.zeros(keypoints.shape[:2], bool)
    assert np.array_equal(np.array(facts["codec"]["heatmap_size"]) * STRIDE, facts["input_size"])
    cells = (keypoints[..., :2] - np.array(PLACES, np.float32)[:, None]) / STRIDE
    peaks = np.rint(cells)  # a quarter cell does not change it
    last = np.array(facts["codec"]["heatmap_size"]) - 1
    found: NDArray[np.bool_] = ((peaks == 1) | (peaks == last)).any(axis=-1)
    return found


@pytest.mark.heads("", "simcc")
@pytest.mark.parametrize("image_name", ["astronaut", "hopper"])
def test_mmdeploy_runtime_finds_what_we_find(
    cell: Cell, judge: Judge, image_name: str, child: Child, other: Child
) -> None:
    needs("mmdeploy_runtime")
    folder, size, image = (
        str(judge.conversion(cell).folder),
        input_size(cell),
        photograph(image_name),
    )
    boxes = exact_boxes(size)
    ours = ask(other, "posedeploy_boxes", folder, image, boxes)
    theirs = ask(child, "mmdeploy_runtime", folder, image, boxes)
    assert np.ptp(ours[..., :2], axis=(0, 1)).min() > 20, "the places do not tell images apart"
    apart = np.abs(ours[..., :2] - theirs[..., :2]).max(axis=-1)
    np.testing.assert_allclose(theirs[..., 2], ours[..., 2], atol=SCORE, rtol=SCORE)
    otherwise = refined_otherwise(ours, Path(folder))
    assert apart[~otherwise].max() <= EXACT_PX
    assert apart.max() <= STRIDE / 4 + EXACT_PX
    assert np.mean(~otherwise) > 0.5, "most keypoints must have been compared exactly"


@pytest.mark.heads("", "simcc")
def test_mmdeploy_runtime_makes_no_difference_between_our_folder_and_mmdeploys(
    cell: Cell, judge: Judge, child: Child, other: Child, tmp_path: Path
) -> None:
    needs("mmdeploy_runtime")
    ours = judge.conversion(cell).folder
    theirs = mmdeploy_folder(ours, tmp_path / "mmdeploy", cell.flow.keypoints)
    image = photograph("astronaut")
    boxes = [
        *exact_boxes(input_size(cell)),
        (60.0, 0.5, 420.25, 511.0),
        (-30.0, 20.0, 300.0, 540.0),
    ]
    left = ask(child, "mmdeploy_runtime", str(ours), image, boxes)
    right = ask(other, "mmdeploy_runtime", str(theirs), image, boxes)
    assert np.ptp(left[..., :2], axis=(0, 1)).min() > 20, "the places do not tell images apart"
    np.testing.assert_allclose(left[..., :2], right[..., :2], atol=EXACT_PX, rtol=0)
    np.testing.assert_allclose(left[..., 2], right[..., 2], atol=SCORE, rtol=0)


@pytest.mark.heads("simcc")
@pytest.mark.parametrize("image_name", ["astronaut", "hopper"])
def test_rtmlib_rtmpose_finds_what_we_find(
    cell: Cell, judge: Judge, image_name: str, child: Child, other: Child
) -> None:
    needs("rtmlib")
    if cell.flow.keypoints:
        pytest.skip("rtmlib takes the maxima of SimCC's vectors, which the graph does not output")
    folder, size, image = judge.conversion(cell).folder, input_size(cell), photograph(image_name)
    boxes = exact_boxes(size)
    ours = ask(other, "posedeploy_boxes", str(folder), image, boxes)
    theirs = ask(child, "rtmlib_rtmpose", str(folder / "end2end.onnx"), size, image, boxes)
    # places only: its score is the mean of the axes' maxima, MMPose's the lesser of the two
    np.testing.assert_allclose(theirs[..., :2], ours[..., :2], atol=EXACT_PX, rtol=0)


@pytest.mark.heads("rtmo")
@pytest.mark.parametrize("image_name", ["astronaut", "hopper"])
def test_rtmlib_rtmo_finds_the_people_we_find(
    cell: Cell, judge: Judge, image_name: str, child: Child, other: Child
) -> None:
    needs("rtmlib")
    folder, (side, _) = judge.conversion(cell).folder, input_size(cell)
    # rtmlib pads on the right and below, MMPose around: an image of the input's size needs none
    image = np.ascontiguousarray(photograph(image_name)[:side, :side])
    assert image.shape[:2] == (side, side)
    ours = ask(other, "posedeploy_boxes", str(folder), image, None)
    theirs = ask(child, "rtmlib_rtmo", str(folder / "end2end.onnx"), side, image, 1e-6)
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(theirs[..., :2], ours[..., :2], atol=EXACT_PX, rtol=0)
    np.testing.assert_allclose(theirs[..., 2], ours[..., 2], atol=SCORE, rtol=0)


@pytest.mark.heads("yolox-pose")
@pytest.mark.parametrize("image_name", ["astronaut", "hopper"])
def test_mmdeploy_runtime_finds_the_boxes_we_find(
    cell: Cell, judge: Judge, image_name: str, child: Child, other: Child, tmp_path: Path
) -> None:
    """In a detection folder, around the network of a pose model: the boxes are the same."""
    needs("mmdeploy_runtime")
    folder = detector_of_pose_model(judge.conversion(cell).folder, tmp_path / "detector")
    image = photograph(image_name)
    ours = ask(other, "posedeploy_people", str(folder), image)
    theirs = ask(child, "mmdeploy_detector", str(folder), image)
    last = np.array([image.shape[1], image.shape[0]] * 2) - 1  # it ends boxes at the last pixel
    assert len(ours) == len(theirs) > 10
    np.testing.assert_allclose(theirs[:, :4], ours[:, :4].clip(max=last), atol=EXACT_PX, rtol=0)
    np.testing.assert_allclose(theirs[:, 4], ours[:, 4], atol=SCORE, rtol=0)


def test_rtmlib_yolox_decodes_as_we_do(child: Child, other: Child, tmp_path: Path) -> None:
    needs("rtmlib")
    image = photograph("astronaut")[:320, :480]  # of the input's size: nobody resizes
    boxes = np.array([[10, 20, 200, 300], [250, 30, 470, 310], [210, 150, 240, 200]], np.float32)
    size, scores = (480, 320), [0.9, 0.8, 0.4]
    graph = str(yolox_graph(tmp_path / "yolox.onnx", boxes, scores, [0, 0, 0], size=size))
    ours = ask(other, "posedeploy_people", graph, image)
    theirs = ask(child, "rtmlib_yolox", graph, size, image)
    np.testing.assert_allclose(theirs, ours[:, :4], atol=EXACT_PX, rtol=0)
    np.testing.assert_allclose(ours[:, :4], boxes, atol=EXACT_PX, rtol=0)
