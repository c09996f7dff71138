"""Keypoints on labeled figures: what is measured, what is refused, what fails."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fixtures.builders import make_model
from poseconform.checks.accuracy import (
    dataset_refusal,
    judge_figures,
    other_joints,
    rounding_failures,
    score_failures,
    shift_failures,
)
from poseconform.compare.tolerances import (
    ACCURACY_LIMITS,
    LEAST_PCK,
    ShiftLimit,
    accuracy_limit_for,
)
from poseconform.datasets.scoring import Score
from poseconform.reference.values import FigureReference, FigureRounding
from poseconform.results.records import AccuracyRecord

RNG = np.random.default_rng(1)
TRUTH = RNG.uniform(20, 180, (10, 17, 2))
SIZES = np.full((10, 2), 100.0)
LIMIT = ShiftLimit(1.0, 3.0, 0.95, 2.0)


def reference(keypoints: np.ndarray = TRUTH) -> FigureReference:
    return FigureReference(np.zeros((10, 3, 4, 4), np.float32), keypoints, TRUTH, SIZES)


def measured(keypoints: np.ndarray) -> AccuracyRecord:
    record = judge_figures(keypoints, reference(), LIMIT).accuracy
    assert record is not None
    return record


def test_the_same_keypoints_lose_nothing() -> None:
    verdict = judge_figures(TRUTH, reference(), LIMIT)
    assert verdict.failures == ()
    expected = AccuracyRecord(
        figures=10, shift_mean_px=0.0, shift_p99_px=0.0, shift_max_px=0.0, oks=1.0, pck=1.0,
        pck_reference=1.0, points_lost=0.0,
    )  # fmt: skip
    assert verdict.accuracy == expected


def test_one_keypoint_that_no_rounding_moves_fails_in_16_bits() -> None:
    """Of 170: neither the mean nor the 99th percentile shows it."""
    moved, reach = TRUTH.copy(), np.zeros((10, 17))
    moved[2, 3, 0] += 3.0
    assert judge_figures(moved, reference(), LIMIT).failures == ()
    rounding = FigureRounding(TRUTH, reach)
    (failure,) = rounding_failures("fp16", moved, reference(), rounding)
    assert "on 10 figures: median 0 px, 95th percentile 0 px, at most 3 px apart" in failure
    assert rounding_failures("fp16", TRUTH, reference(), rounding) == ()
    reach[2, 3] = 3.0  # a near tie
    assert rounding_failures("fp16", moved, reference(), rounding) == ()
    own = FigureRounding(TRUTH + 1.0, np.zeros((10, 17)))  # PyTorch itself moves all as far
    assert rounding_failures("fp16", TRUTH + 1.0, reference(), own) == ()


def test_a_small_shift_of_all_is_measured_in_px_and_passes() -> None:
    verdict = judge_figures(TRUTH + np.asarray([0.3, 0.4]), reference(), LIMIT)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert verdict.accuracy.shift_mean_px == pytest.approx(0.5)
    assert verdict.keypoint_error_px is not None
    assert verdict.keypoint_error_px.p50 == pytest.approx(0.5)


def test_each_limit_has_its_own_sentence() -> None:
    verdict = judge_figures(TRUTH + np.asarray([0.0, 20.0]), reference(), LIMIT)
    words = ("mean shift", "99th percentile", "1 - OKS", "change of PCK")
    assert [any(s.startswith(w) for s in verdict.failures) for w in words] == [True] * 4
    assert verdict.failures[0].endswith("20 px; allowed 1")


def test_a_few_far_keypoints_fail_by_their_percentile_alone() -> None:
    moved = TRUTH.copy()
    moved[0, :3] += 4.0
    (failure,) = judge_figures(moved, reference(), LIMIT).failures
    assert failure.startswith("99th percentile")


def test_a_gain_is_as_suspicious_as_a_loss() -> None:
    record = measured(TRUTH)
    gain = replace(record, pck_reference=0.9, points_lost=-10.0)
    assert [s.split(" on ")[0] for s in shift_failures(gain, LIMIT)] == ["change of PCK"]


@pytest.mark.parametrize("field", ["shift_mean_px", "shift_p99_px", "oks", "points_lost"])
def test_what_is_not_a_number_exceeds_every_limit(field: str) -> None:
    nan: dict[str, Any] = {field: float("nan")}
    broken = replace(measured(TRUTH), **nan)
    assert len(shift_failures(broken, LIMIT)) == 1


def test_keypoints_that_are_not_finite_fail() -> None:
    broken = TRUTH.copy()
    broken[0, 0] = np.nan
    (failure,) = judge_figures(broken, reference(), LIMIT).failures
    assert failure.startswith("2 keypoint coordinates on figures are not finite")


def test_a_model_with_nothing_to_lose_is_refused_with_a_code() -> None:
    lost = TRUTH + np.where(np.arange(17) < 4, 50.0, 0.0)[None, :, None]
    poor = reference(lost)
    assert poor.pck < LEAST_PCK
    verdict = judge_figures(TRUTH + 100, poor, LIMIT)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert (verdict.accuracy.code, verdict.accuracy.figures) == ("fp32-accuracy-too-low", 0)
    assert "76.5%" in verdict.accuracy.reason
    assert verdict.refusal == f"fp32-accuracy-too-low: {verdict.accuracy.reason}"
    assert judge_figures(TRUTH, reference(), LIMIT).refusal == ""


def test_a_model_of_other_joints_than_the_figures_is_refused_with_a_code() -> None:
    whole_body = FigureReference(reference().inputs, np.zeros((10, 133, 2)), TRUTH, SIZES)
    verdict = other_joints(whole_body)
    assert verdict is not None
    assert verdict.failures == ()
    assert verdict.refusal.startswith("other-joints: the model has 133 keypoints")
    assert other_joints(reference()) is None


def test_limits_are_found_by_flow() -> None:
    for family in ("HRNet", "RTMPose", "SimCC"):
        for precision in ("bf16", "fp16", "int8"):
            assert accuracy_limit_for(family, precision, "openvino").shift is not None
    assert accuracy_limit_for("RTMPose", "fp32", "ncnn").shift is None
    with pytest.raises(LookupError, match="no limit for the accuracy of HRNet fp8 flows"):
        accuracy_limit_for("HRNet", "fp8", "ncnn")


@pytest.mark.parametrize("points", [-5.0, 5.0])
def test_a_limit_has_two_sides(points: float) -> None:
    limit = accuracy_limit_for("HRNet", "fp32", "ncnn")
    assert limit is not None
    reference = Score(0.8, 0.8, 0.8)
    assert score_failures(reference, reference, limit) == ()
    for name in ("ap", "ar", "pck"):
        values = {"ap": 0.8, "ar": 0.8, "pck": 0.8, name: 0.8 + points / 100}
        (failure,) = score_failures(Score(**values), reference, limit)
        assert f"{points:+.2f} points; allowed {limit.points}" in failure
    assert len(score_failures(Score(*[float("nan")] * 3), reference, limit)) == 3


def test_limits_have_reasons_and_grow_with_coarseness() -> None:
    assert all(row.reason for row in ACCURACY_LIMITS)
    limits = [accuracy_limit_for("HRNet", p, "ncnn") for p in ("fp32", "fp16", "bf16", "int8")]
    points = [limit.points for limit in limits if limit]
    assert len(points) == 4
    assert points == sorted(points)


def test_a_model_that_finds_nobody_is_refused() -> None:
    assert dataset_refusal(make_model(), Score(0.9, 0.9, 0.9)) == ""
    why = dataset_refusal(make_model(), Score(0.1, 0.2, 0.3))
    assert why.startswith("fp32-accuracy-too-low: PyTorch itself has AP 0.100 with calibrated")
