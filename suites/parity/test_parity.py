"""What the backend computes is what PyTorch computes: tensors, keypoints, detections."""

from __future__ import annotations

import numpy as np
import pytest

from poseconform.checks.declaration import Check
from poseconform.compare.tolerances import tolerance_for
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell, Model
from poseconform.pytest_plugin.checking import perform
from poseconform.pytest_plugin.recording import Notes
from posedeploy.runtime.responses import MOST_SAME_ARGMAX, same_argmax_fraction

MOST_NEAR_TIES = 0.05  # of all keypoints; more, and a flip could hide


def test_reference_is_informative(conformance_model: Model, judge: Judge) -> None:
    """Weights whose output ignores the image would let every other test pass."""
    reference = judge.reference(conformance_model, "fp32")
    if reference.bottom_up:
        counts = [int(truth.stable.sum()) for truth in reference.detections]
        assert min(counts) >= 1, f"stable detections per image: {counts}"
        boxes = [truth.possible.boxes[:1] for truth in reference.detections]
        assert len({box.tobytes() for box in boxes}) == len(boxes), "the same box in two images"
        return
    for name, output in reference.outputs.items():
        assert output.ndim < 3 or same_argmax_fraction(output) <= MOST_SAME_ARGMAX, name
    assert np.mean(reference.near_ties(tolerance_for("*", "fp32"))) <= MOST_NEAR_TIES


@pytest.mark.checks(suite="parity")
def test_parity(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform(check, judge, cell, record)
