"""Verdicts on tensors and keypoints: each fails on its own fault, and only on that."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.builders import make_execution, make_reference
from poseconform.checks.declaration import Verdict
from poseconform.checks.table import CHECKS, require
from poseconform.checks.tensors import (
    judge_finite,
    judge_keypoints,
    judge_overlap,
    judge_tensors,
)
from poseconform.compare.tolerances import Tolerance, tolerance_for
from poseconform.reference.refinement import Refinement, no_refinement
from poseconform.results.outcome import STAGES

ROW, HALF = tolerance_for("onnxruntime", "fp32"), tolerance_for("onnxruntime", "fp16")
assert HALF is not None
RNG = np.random.default_rng(1)
TRUTH = RNG.normal(size=(3, 5, 16))


def varying() -> np.ndarray:
    return TRUTH.copy()


def failures_of_finite(rows: np.ndarray, top_down: bool = True) -> str:
    return "; ".join(judge_finite(make_execution({"output": rows}), top_down).failures)


def test_outputs_that_depend_on_the_image_pass() -> None:
    assert failures_of_finite(varying()) == ""


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_not_finite_is_counted(bad: float) -> None:
    rows = varying()
    rows[1, 2, 3] = bad
    assert failures_of_finite(rows) == "output: 1 of 240 values are not finite"


def test_constant_outputs_are_named() -> None:
    assert failures_of_finite(np.full((3, 5, 16), 0.25)) == "output: constant (0.25)"
    same = np.repeat(varying()[:1], 3, axis=0)
    assert failures_of_finite(same) == "output: the same for every image"


def test_peaks_that_do_not_move_fail_for_top_down_models_only() -> None:
    rows = varying()
    rows[:, :3, 7] = 100 + RNG.normal(size=(3, 3))
    assert "60% of the keypoints have the same peak" in failures_of_finite(rows)
    assert failures_of_finite(rows, top_down=False) == ""
    rows[:, 2, 7] = 0
    rows[np.arange(3), 2, np.arange(3)] = 100
    assert failures_of_finite(rows) == ""


def test_one_image_in_two_batches_is_one_image() -> None:
    rows = np.concatenate([varying()[:1]] * 2)
    execution = make_execution({"output": rows}, plan=[(0,), (0,)])
    assert judge_finite(execution, True).failures != ()


def test_the_truth_itself_passes_and_is_measured() -> None:
    verdict = judge_tensors(
        make_execution({"output": TRUTH}), make_reference({"output": TRUTH}), ROW
    )
    assert verdict.failures == ()
    (record,) = verdict.outputs
    assert (record.name, record.max_abs, record.headroom) == ("output", 0.0, 0.0)
    assert record.shape == (3, 5, 16)


@given(st.floats(0.01, 100), st.integers(0, TRUTH.size - 1))
def test_an_element_may_be_off_by_the_allowed_error_and_no_more(factor: float, place: int) -> None:
    reference = make_reference({"output": TRUTH})
    allowed = reference.allowed("output", ROW)
    rows = varying()
    rows.flat[place] += factor * allowed.max
    verdict = judge_tensors(make_execution({"output": rows}), reference, ROW)
    record = verdict.outputs[0]
    assert record.headroom is not None
    assert bool(verdict.failures) == (record.headroom > 1.0)
    if factor > 1.001:
        assert "output: maximum error" in verdict.failures[0]


def test_rms_is_judged_by_itself() -> None:
    reference = make_reference({"output": TRUTH})
    rows = varying() + 2 * reference.allowed("output", ROW).rms
    verdict = judge_tensors(make_execution({"output": rows}), reference, ROW)
    assert [c.split(" error")[0] for c in verdict.failures] == ["output: RMS"]


def test_nan_exceeds_every_limit() -> None:
    rows = varying()
    rows[0, 0, 0] = math.nan
    verdict = judge_tensors(
        make_execution({"output": rows}), make_reference({"output": TRUTH}), ROW
    )
    assert len(verdict.failures) == 2
    assert verdict.outputs[0].headroom == math.inf


def test_missing_and_misshapen_outputs_are_failures_not_crashes() -> None:
    reference = make_reference({"simcc_x": TRUTH, "simcc_y": TRUTH})
    execution = make_execution({"simcc_x": TRUTH[:, :, :8]})
    assert judge_tensors(execution, reference, ROW).failures == (
        "simcc_x: shape [5, 8] per image; expected [5, 16]",
        "output simcc_y is missing; the graph has ['simcc_x']",
    )


def keypoints_verdict(moved: float, *, tie: bool, row: Tolerance = ROW) -> Verdict:
    reference = make_reference({"output": TRUTH}, argmax_gap=0.0 if tie else 1.0)
    decoded = np.zeros((3, 5, 2))
    decoded[1, 4, 0] = moved
    return judge_keypoints(decoded, np.arange(3), reference, row)


def test_a_flip_is_benign_at_a_near_tie_only() -> None:
    tie = keypoints_verdict(9.0, tie=True)
    assert (tie.failures, tie.benign_flips) == ((), 1)
    assert tie.keypoint_error_px is not None
    assert tie.keypoint_error_px.max == 0.0
    clear = keypoints_verdict(9.0, tie=False)
    assert "1 of 15 keypoints moved" in clear.failures[0]
    assert "image 1, keypoint 4, 9.00 px" in clear.failures[0]
    assert clear.benign_flips == 0


@pytest.mark.parametrize(("moved", "passes"), [(0.9, True), (5.0, True), (5.3, False)])
def test_a_refined_keypoint_moves_as_far_as_the_allowed_error_can_move_it(
    moved: float, passes: bool
) -> None:
    allowed = make_reference({"output": TRUTH}).allowed("output", ROW).max
    ones, step = np.ones((3, 5)), np.zeros((3, 5, 2))
    step[1, 4, 0] = 5.1 / allowed  # px for an error of the output of size 1
    refinement = Refinement(ones, step, np.zeros((3, 5, 2)), ones)
    reference = make_reference({"output": TRUTH}, refinement=refinement)
    assert np.argwhere(reference.near_ties(ROW)).tolist() == [[1, 4]]
    for keypoint, expected in ((4, passes), (3, False)):
        decoded = np.zeros((3, 5, 2))
        decoded[1, keypoint, 1] = moved
        verdict = judge_keypoints(decoded, np.arange(3), reference, ROW)
        assert (verdict.failures == ()) is expected
        assert verdict.benign_flips == int(expected)


def test_a_quarter_step_that_goes_the_other_way_moves_by_half_a_cell_and_no_more() -> None:
    still = no_refinement(None, {"output": TRUTH})
    reference = make_reference(
        {"output": TRUTH}, shift_gap=np.zeros((3, 5)), refinement=replace(still, flip_px=2.83)
    )
    for moved, passes in ((2.8, True), (3.0, False)):
        decoded = np.zeros((3, 5, 2))
        decoded[1, 2, 0] = moved
        verdict = judge_keypoints(decoded, np.arange(3), reference, ROW)
        assert (verdict.failures == ()) is passes


def test_a_move_within_the_limit_passes_and_is_measured() -> None:
    verdict = keypoints_verdict(0.9 * ROW.keypoint_px, tie=False)
    assert verdict.failures == ()
    assert verdict.keypoint_error_px is not None
    assert verdict.keypoint_error_px.max == pytest.approx(0.9 * ROW.keypoint_px)
    assert keypoints_verdict(1.1 * ROW.keypoint_px, tie=False).failures


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("row", [ROW, HALF], ids=["fp32", "fp16"])
def test_a_keypoint_that_is_no_number_is_never_benign(tie: bool, row: Tolerance) -> None:
    verdict = keypoints_verdict(math.nan, tie=tie, row=row)
    assert verdict.failures[0] == "1 keypoints are not finite"
    assert verdict.benign_flips == 0


def test_flips_are_counted_where_they_are_not_gated() -> None:
    verdict = keypoints_verdict(50.0, tie=False, row=HALF)
    assert verdict.failures == ()
    assert verdict.keypoint_error_px is None  # figures are judged instead


def test_a_batch_must_equal_its_parts() -> None:
    reference = make_reference({"output": TRUTH})
    limit = 2 * reference.allowed("output", ROW).max
    plan = [(0,), (1, 2), (0, 1)]
    rows = TRUTH[[0, 1, 2, 0, 1]].copy()
    assert judge_overlap(make_execution({"output": rows}, plan), reference, ROW).failures == ()
    rows[4, 0, 0] += 1.5 * limit
    (failure,) = judge_overlap(make_execution({"output": rows}, plan), reference, ROW).failures
    assert failure.startswith("output: image 1 differs by")
    rows[4, 0, 0] = math.nan
    assert judge_overlap(make_execution({"output": rows}, plan), reference, ROW).failures


def test_require_passes_on_a_clean_verdict_and_says_all_failures() -> None:
    clean = Verdict()
    assert require(clean) is clean
    with pytest.raises(AssertionError, match=r"^one; two$"):
        require(Verdict(failures=("one", "two")))


def test_every_check_judges_a_stage() -> None:
    assert {check.stage for check in CHECKS.values()} <= set(STAGES)


def test_a_flow_without_a_tolerance_cannot_pass() -> None:
    with pytest.raises(LookupError, match="no tolerance for onnxruntime int4"):
        tolerance_for("onnxruntime", "int4")
