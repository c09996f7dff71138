"""Keypoints on labeled figures: what is measured, what is refused, what fails."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fixtures.builders import make_execution, make_model
from poseconform.compare.precision import judge_accuracy, judge_layers, judge_steps
from poseconform.compare.tolerances import (
    LEAST_PCK,
    AccuracyLimit,
    LayerLimit,
    accuracy_limit_for,
    layer_limit_for,
)
from poseconform.datasets.accuracy import AccuracyReference, Figure, failures, measure, why_not
from poseconform.evaluators.quantized.noise import LayerNoise, Quantized
from poseconform.reference.values import Sample
from poseconform.results.records import AccuracyRecord

RNG = np.random.default_rng(1)
TRUTH = RNG.uniform(20, 180, (10, 17, 2))
SIZES = np.full((10, 2), 100.0)
LIMIT = AccuracyLimit("*", "*", "int8", 1.0, 3.0, 0.95, 2.0, "of this test")
FIGURE = Figure(Sample("f", np.zeros((4, 4, 3), np.uint8), (0, 0, 4, 4)), np.zeros((17, 2)))


def reference(keypoints: np.ndarray = TRUTH) -> AccuracyReference:
    return AccuracyReference(np.zeros((10, 3, 4, 4), np.float32), keypoints, TRUTH, SIZES)


def measured(keypoints: np.ndarray) -> AccuracyRecord:
    record = judge_accuracy(keypoints, reference(), LIMIT).accuracy
    assert record is not None
    return record


def test_the_same_keypoints_lose_nothing() -> None:
    verdict = judge_accuracy(TRUTH, reference(), LIMIT)
    assert verdict.failures == ()
    expected = AccuracyRecord(
        figures=10, shift_mean_px=0.0, shift_p99_px=0.0, shift_max_px=0.0, oks=1.0, pck=1.0,
        pck_reference=1.0, points_lost=0.0,
    )  # fmt: skip
    assert verdict.accuracy == expected


def test_a_small_shift_of_all_is_measured_in_px_and_passes() -> None:
    verdict = judge_accuracy(TRUTH + np.asarray([0.3, 0.4]), reference(), LIMIT)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert verdict.accuracy.shift_mean_px == pytest.approx(0.5)
    assert verdict.pixels is not None
    assert verdict.pixels.p50 == pytest.approx(0.5)


def test_each_limit_has_its_own_sentence() -> None:
    verdict = judge_accuracy(TRUTH + np.asarray([0.0, 20.0]), reference(), LIMIT)
    words = ("mean shift", "99th percentile", "1 - OKS", "change of PCK")
    assert [any(s.startswith(w) for s in verdict.failures) for w in words] == [True] * 4
    assert verdict.failures[0].endswith("20 px; allowed 1")


def test_a_few_far_keypoints_fail_by_their_percentile_alone() -> None:
    moved = TRUTH.copy()
    moved[0, :3] += 4.0
    (said,) = judge_accuracy(moved, reference(), LIMIT).failures
    assert said.startswith("99th percentile")


def test_a_gain_is_as_suspicious_as_a_loss() -> None:
    record = measured(TRUTH)
    gain = replace(record, pck_reference=0.9, points_lost=-10.0)
    assert [s.split(" on ")[0] for s in failures(gain, LIMIT)] == ["change of PCK"]


@pytest.mark.parametrize("field", ["shift_mean_px", "shift_p99_px", "oks", "points_lost"])
def test_what_is_not_a_number_exceeds_every_limit(field: str) -> None:
    broken = replace(measured(TRUTH), **{field: float("nan")})
    assert len(failures(broken, LIMIT)) == 1


def test_keypoints_that_are_not_finite_fail() -> None:
    broken = TRUTH.copy()
    broken[0, 0] = np.nan
    (said,) = judge_accuracy(broken, reference(), LIMIT).failures
    assert said.startswith("2 keypoint coordinates on figures are not finite")


def test_a_model_with_nothing_to_lose_is_refused_with_a_code() -> None:
    lost = TRUTH + np.where(np.arange(17) < 4, 50.0, 0.0)[None, :, None]
    poor = reference(lost)
    assert poor.pck < LEAST_PCK
    verdict = judge_accuracy(TRUTH + 100, poor, LIMIT)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert (verdict.accuracy.code, verdict.accuracy.figures) == ("fp32-accuracy-too-low", 0)
    assert "76.5%" in verdict.accuracy.reason
    assert measure(TRUTH, reference())[0].code == ""


def test_what_cannot_be_measured_is_refused_with_a_code() -> None:
    model = make_model()
    assert why_not(model, [FIGURE]) is None
    detector = make_model("rtmo")
    fitted = replace(detector, weights="fitted")
    found = [why_not(model, []), why_not(detector, [FIGURE]), why_not(fitted, [FIGURE])]
    codes = ["no-figures", "weights-not-fitted", "people-not-matched"]
    assert [record and record.code for record in found] == codes


def layers(*decibels: float, multiplying: int = 3) -> Quantized:
    found = (LayerNoise(f"l{i}", "Conv", db) for i, db in enumerate(decibels))
    return Quantized(tuple(sorted(found, key=lambda layer: layer.sqnr_db)), multiplying)


FLOOR = LayerLimit("*", "*", 20.0, 25.0, 0.6, "of this test")


def test_quiet_layers_pass_and_are_recorded() -> None:
    verdict = judge_layers(layers(30.0, 25.0, 40.0), FLOOR)
    assert verdict.failures == ()
    assert verdict.layers is not None
    assert (verdict.layers.min_db, verdict.layers.median_db) == (25.0, 30.0)
    assert (verdict.layers.worst, verdict.layers.quantized) == ("l1", 3)


def test_a_loud_layer_is_named() -> None:
    (said,) = judge_layers(layers(30.0, 5.0, float("-inf"), 30.0, 30.0), FLOOR).failures
    assert "2 of 5 quantized layers have less than 20 dB" in said
    assert "l2 (Conv) -inf dB, l1 (Conv) 5.0 dB" in said


def test_layers_that_are_all_noisy_fail_by_their_median() -> None:
    (said,) = judge_layers(layers(22.0, 22.5, 21.0), FLOOR).failures
    assert said.startswith("half of the 3 quantized layers have less than 22.0 dB")


def test_a_layer_that_is_not_a_number_is_loud() -> None:
    assert judge_layers(layers(float("nan"), 30.0, 30.0), FLOOR).failures


@pytest.mark.parametrize("decibels", [(), (30.0,)])
def test_too_few_quantized_layers_fail(decibels: tuple[float, ...]) -> None:
    (said,) = judge_layers(layers(*decibels), FLOOR).failures
    assert said.startswith(f"{len(decibels)} of 3 layers that sum products compute in int8")


def test_an_output_in_eight_bits_is_heard_whoever_computes_it() -> None:
    values = np.random.default_rng(4).normal(size=(2, 17, 384))
    coarse = np.round(values * 30) / 30
    said = judge_steps(make_execution({"fine": values, "coarse": coarse}))
    assert [s.split()[0] for s in said] == ["coarse"]


def test_few_numbers_say_nothing_of_steps() -> None:
    few = np.zeros((2, 100, 60))
    few[:, :5] = 0.5
    assert judge_steps(make_execution({"dets": few})) == ()


def test_limits_are_found_by_flow() -> None:
    for backend in ("ncnn", "onnxruntime", "openvino"):
        assert layer_limit_for("RTMPose", backend) is not None
        assert accuracy_limit_for("RTMPose", backend, "int8") is not None
        assert accuracy_limit_for("RTMPose", backend, "fp16") is not None
    assert accuracy_limit_for("RTMPose", "onnxruntime", "fp32") is None
