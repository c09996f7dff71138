"""Several boxes and several images in one call give what one by one gives.

That one call finds mmpose's keypoints is the `sdk` stage of every cell (suites/sdk_model).
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.images import photograph
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from posedeploy.sdk import PoseDetector

pytestmark = [
    pytest.mark.stage("sdk"),
    pytest.mark.flows(backend="onnxruntime", precision="fp32", shape_mode="dynamic"),
]

BOXES = [(60.0, 0.0, 420.0, 512.0), (150.0, 20.5, 300.25, 200.0), (-40.0, 90.0, 250.0, 560.0)]
# A batch is summed in another order than its parts: places move by rounding, and a peak that is
# nearly tied with another may fall to the other one. Measured: 0 px, none of them.
SAME_PX, NEAR_TIES, SCORE = 0.01, 0.02, 1e-3


def assert_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    apart = np.abs(found[..., :2] - expected[..., :2]).max(axis=-1)
    assert np.mean(apart > SAME_PX) <= NEAR_TIES
    np.testing.assert_allclose(found[..., 2], expected[..., 2], atol=SCORE, rtol=SCORE)


@pytest.mark.heads("", "simcc")
@pytest.mark.parametrize("batch_size", [2, 16], ids=["in two calls", "in one call"])
def test_several_boxes_equal_one_by_one(cell: Cell, judge: Judge, batch_size: int) -> None:
    image = photograph("astronaut")
    with PoseDetector(judge.conversion(cell).folder, batch_size=batch_size) as detector:
        one_by_one = np.concatenate([detector(image, box) for box in BOXES])
        assert_same(detector(image, BOXES), one_by_one)
        apart = np.abs(one_by_one[0, :, :2] - one_by_one[1, :, :2]).max()
        assert apart > 10, "the boxes do not tell a mix-up"
        assert_same(detector(image, BOXES[::-1]), one_by_one[::-1])


@pytest.mark.heads("", "simcc")
def test_a_batch_of_images_equals_one_by_one(cell: Cell, judge: Judge) -> None:
    images = [photograph("astronaut"), photograph("hopper"), photograph("astronaut")]
    boxes = [BOXES, None, BOXES[1]]
    with PoseDetector(judge.conversion(cell).folder, batch_size=4) as detector:
        found = detector.batch(images, boxes)
        assert [len(part) for part in found] == [3, 1, 1]
        for image, given, part in zip(images, boxes, found, strict=True):
            assert_same(part, detector(image, given))


@pytest.mark.heads("yolox-pose", "rtmo")
def test_a_batch_of_whole_images_equals_one_by_one(cell: Cell, judge: Judge) -> None:
    images = [photograph("astronaut"), photograph("hopper")[:400], photograph("hopper")]
    with PoseDetector(judge.conversion(cell).folder, batch_size=2) as detector:
        found = detector.detect_batch(images)
        assert min(len(part.scores) for part in found) > 0
        for image, part in zip(images, found, strict=True):
            alone = detector.detect(image)
            assert part.boxes.shape == (len(part.scores), 4)
            assert_same(part.keypoints, alone.keypoints)
            np.testing.assert_allclose(part.boxes, alone.boxes, atol=0.05)
            np.testing.assert_allclose(part.scores, alone.scores, atol=SCORE)
