"""`PersonDetector` gives the boxes that mmpose's own `predict` gives, for an image of any size."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from poseconform.checks.detections import cut
from poseconform.compare.tolerances import NEAR_TIES
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from posedeploy.sdk import Boxes, PersonDetector
from posedeploy.sdk.folder import kept_people

pytestmark = [
    pytest.mark.stage("sdk"),
    pytest.mark.flows(backend="onnxruntime", precision="fp32", shape_mode="dynamic"),
    pytest.mark.heads("yolox-pose", "rtmo"),
]

# Input px. Measured: 3.9e-4 px and 3.3e-6, at most, over six images; sums in another order
SAME_PX, SCORE = 0.005, 1e-4
SAMPLES = slice(1, 4)  # of other shapes than the input's, which is a square


def pairs(
    got: NDArray[np.floating], expected: NDArray[np.floating]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.floating]]:
    """Boxes with their scores `[n, 5]` and `[m, 5]`, one to one, and how far apart they are."""
    apart = np.abs(got[:, None] - expected[None])
    apart[..., 4] *= SAME_PX / SCORE
    rows, columns = linear_sum_assignment(apart.max(axis=-1))
    return rows, columns, apart.max(axis=-1)[rows, columns]


def in_input_px(
    found: Boxes, image: NDArray[np.uint8], side: tuple[int, int]
) -> NDArray[np.float64]:
    """Boxes in px of an input of (W, H), in whose middle MMPose puts the whole image; scores."""
    height, width = image.shape[:2]
    factor = min(side[0] / width, side[1] / height)
    margin = (np.array(side) - factor * np.array([width, height])) / 2
    boxes = found.boxes.astype(np.float64) * factor + np.tile(margin, 2)
    return np.column_stack([boxes, found.scores])


def test_boxes_are_mmposes(cell: Cell, judge: Judge) -> None:
    reference, ties = judge.reference(cell.model, "fp32"), NEAR_TIES["fp32"]
    folder = judge.conversion(cell).folder
    # as the graph outputs them: neither a score nor an overlap takes any away
    with PersonDetector(folder, score_threshold=0.0, nms_threshold=1.0) as detector:
        rows = kept_people(detector.model)
        assert rows is not None
        samples = judge.samples[SAMPLES]
        for sample, truth in zip(samples, reference.detections[SAMPLES], strict=True):
            found = detector.detect(sample.image)
            possible, stable = cut(truth, rows, ties)
            expected = np.column_stack([possible.boxes, possible.scores])
            got = in_input_px(found, sample.image, detector.input_size)
            matched, counterparts, apart = pairs(got, expected)
            assert len(found) == len(matched) > 10, "boxes that mmpose does not give"
            assert apart.max() <= SAME_PX
            assert np.isin(np.flatnonzero(stable), counterparts).all(), "boxes that are missing"
