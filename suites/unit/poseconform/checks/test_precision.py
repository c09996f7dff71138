"""int8: what comes out of a whole network is reported, and never fails a cell."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.builders import (
    as_outputs,
    make_execution,
    make_people,
    make_reference,
    make_truth,
)
from poseconform.checks.detections import judge_detected_keypoints, judge_detections
from poseconform.checks.sdk import judge_client
from poseconform.checks.tensors import judge_tensors
from poseconform.compare.tolerances import NEAR_TIES, tolerance_for
from poseconform.subject.clients import ClientAnswer

ROW, EXACT = tolerance_for("onnxruntime", "int8"), tolerance_for("onnxruntime", "fp32")
assert EXACT is not None
RNG = np.random.default_rng(7)
TRUTH = RNG.normal(size=(2, 5, 96))
PEOPLE = make_people([0.9, 0.8, 0.7])
FAR = make_people([0.6, 0.5], apart=77.0)


def test_every_precision_has_near_ties_and_a_row() -> None:
    assert set(NEAR_TIES) == {"bf16", "fp16", "fp32", "int8"}
    assert all(tolerance_for("*", precision) for precision in NEAR_TIES)


def test_tensors_far_off_are_reported_with_their_sqnr_and_without_headroom() -> None:
    noisy = make_execution({"output": TRUTH + RNG.normal(size=TRUTH.shape)})
    reference = make_reference({"output": TRUTH})
    verdict = judge_tensors(noisy, reference, ROW)
    (record,) = verdict.outputs
    assert verdict.failures == ()
    assert (record.headroom, record.allowed_max) == (None, None)
    assert record.sqnr_db == pytest.approx(0, abs=2)
    assert judge_tensors(noisy, reference, EXACT).failures


def test_an_output_that_is_missing_fails_at_every_precision() -> None:
    verdict = judge_tensors(
        make_execution({"other": TRUTH}), make_reference({"output": TRUTH}), ROW
    )
    assert verdict.failures


def test_detections_that_are_not_the_references_are_reported() -> None:
    execution = make_execution(as_outputs([FAR], 4))
    reference = make_reference(truths=[make_truth(PEOPLE)])
    for judge in (judge_detections, judge_detected_keypoints):
        assert judge(execution, reference, ROW).failures == ()
        assert judge(execution, reference, EXACT).failures


def test_a_clients_people_are_reported_but_must_be_finite() -> None:
    reference = make_reference(
        truths=[make_truth(PEOPLE)],
        image_keypoints=(PEOPLE.keypoints,),
        image_scores=(PEOPLE.scores,),
    )
    answer = ClientAnswer(FAR.keypoints.astype(np.float64), FAR.scores.astype(np.float64))
    assert judge_client([answer], reference, ROW, 3).failures == ()
    assert judge_client([answer], reference, EXACT, 3).failures
