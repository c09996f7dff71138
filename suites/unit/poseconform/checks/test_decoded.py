"""Verdicts on graphs that hold the decoding: each fails on its own fault, and only on that."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.builders import make_execution, make_reference
from poseconform.checks.decoded import (
    judge_decoded_keypoints,
    judge_decoded_overlap,
    judge_scores,
)
from poseconform.compare.tolerances import tolerance_for
from poseconform.judge.runs import Execution
from poseconform.reference.values import Reference, RefError

ROW = tolerance_for("onnxruntime", "fp32")
NAMES = ("keypoints", "scores")
RNG = np.random.default_rng(5)
POINTS, SCORES = RNG.uniform(0, 64, (3, 5, 2)), RNG.uniform(0.2, 0.9, (3, 5))
SIMCC = {"simcc_x": RNG.random((3, 5, 16)), "simcc_y": RNG.random((3, 5, 20))}
PLAN = [(0,), (1, 2), (1, 2, 0)]


def reference(gap: float | np.ndarray = 1.0) -> Reference:
    own = RefError(1e-6, 1e-7, 1.0, 0.5)
    return make_reference(SIMCC, ref_error=own, argmax_gap=gap, keypoints=POINTS, scores=SCORES)


def execution(points: np.ndarray = POINTS, scores: np.ndarray = SCORES) -> Execution:
    return make_execution({"keypoints": points, "scores": scores})


def in_batches(points: np.ndarray, scores: np.ndarray) -> Execution:
    return make_execution({"keypoints": points, "scores": scores}, PLAN)


def test_what_the_reference_decodes_passes() -> None:
    for judge in (judge_scores, judge_decoded_keypoints, judge_decoded_overlap):
        assert judge(execution(), reference(), ROW, NAMES).failures == ()
    (record,) = judge_scores(execution(), reference(), ROW, NAMES).outputs
    assert (record.name, record.max_abs) == ("scores", 0)
    assert record.headroom == 0


def test_a_score_that_is_off_fails() -> None:
    verdict = judge_scores(execution(scores=SCORES * 1.01), reference(), ROW, NAMES)
    assert "scores: maximum error" in verdict.failures[0]


@pytest.mark.parametrize(
    ("outputs", "failure"),
    [
        ({"keypoints": POINTS}, "output scores is missing; the graph has ['keypoints']"),
        ({"keypoints": SIMCC["simcc_x"], "scores": SCORES},
         "keypoints: shape [5, 16] per image; expected [5, 2]"),
        ({"keypoints": POINTS, "scores": SCORES[:, :4]},
         "scores: shape [4] per image; expected [5]"),
    ],
)  # fmt: skip
def test_other_outputs_fail(outputs: dict[str, np.ndarray], failure: str) -> None:
    assert judge_scores(make_execution(outputs), reference(), ROW, NAMES).failures == (failure,)


@pytest.mark.parametrize("swapped", [POINTS[..., ::-1], POINTS * 2, POINTS + 1])
def test_keypoints_that_moved_fail(swapped: np.ndarray) -> None:
    (failure,) = judge_decoded_keypoints(execution(swapped), reference(), ROW, NAMES).failures
    assert "keypoints moved by more than" in failure


def test_a_near_tie_may_go_either_way() -> None:
    gaps = np.ones((3, 5))
    gaps[1, 2] = 1e-7
    moved = POINTS.copy()
    moved[1, 2] += 9
    verdict = judge_decoded_keypoints(execution(moved), reference(gaps), ROW, NAMES)
    assert (verdict.failures, verdict.benign_flips) == ((), 1)
    rows = np.array([0, 1, 2, 1, 2, 0])
    points = POINTS[rows]
    points[3, 2] += 9  # image 1, in its second batch
    batches = in_batches(points, SCORES[rows])
    assert judge_decoded_overlap(batches, reference(gaps), ROW, NAMES).failures == ()
    (failure,) = judge_decoded_overlap(batches, reference(), ROW, NAMES).failures
    assert failure.startswith("keypoints: image 1 differs by 9 between batches")


def test_a_score_must_not_depend_on_the_batch() -> None:
    rows = np.array([0, 1, 2, 1, 2, 0])
    scores = SCORES[rows]
    scores[4, 0] += 0.1
    verdict = judge_decoded_overlap(in_batches(POINTS[rows], scores), reference(), ROW, NAMES)
    assert "scores: image 2 differs by 0.1 between batches" in verdict.failures[0]
