"""Quantized layers: their noise, how many there are, and outputs that are themselves in int8."""

from __future__ import annotations

import numpy as np
import pytest

from fixtures.builders import make_execution
from poseconform.checks.layers import judge_layers, judge_steps
from posedeploy.runtime.quantized.limits import LayerLimit, layer_limit_for
from posedeploy.runtime.quantized.noise import LayerNoise, Quantized


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


def test_a_noisy_layer_is_named() -> None:
    (failure,) = judge_layers(layers(30.0, 5.0, float("-inf"), 30.0, 30.0), FLOOR).failures
    assert "2 of 5 quantized layers have less than 20 dB" in failure
    assert "l2 (Conv) -inf dB, l1 (Conv) 5.0 dB" in failure


def test_layers_that_are_all_noisy_fail_by_their_median() -> None:
    (failure,) = judge_layers(layers(22.0, 22.5, 21.0), FLOOR).failures
    assert failure.startswith("half of the 3 quantized layers have less than 22.0 dB")


def test_a_layer_that_is_not_a_number_is_noisy() -> None:
    assert judge_layers(layers(float("nan"), 30.0, 30.0), FLOOR).failures


@pytest.mark.parametrize("decibels", [(), (30.0,)])
def test_too_few_quantized_layers_fail(decibels: tuple[float, ...]) -> None:
    (failure,) = judge_layers(layers(*decibels), FLOOR).failures
    assert failure.startswith(f"{len(decibels)} of 3 layers that sum products compute in int8")


def test_an_output_in_eight_bits_fails() -> None:
    values = np.random.default_rng(4).normal(size=(2, 17, 384))
    coarse = np.round(values * 30) / 30
    failures = judge_steps(make_execution({"fine": values, "coarse": coarse}))
    assert [s.split()[0] for s in failures] == ["coarse"]


def test_few_numbers_say_nothing_of_steps() -> None:
    few = np.zeros((2, 100, 60))
    few[:, :5] = 0.5
    assert judge_steps(make_execution({"dets": few})) == ()


def test_the_most_particular_limit_is_taken() -> None:
    assert layer_limit_for("RTMPose", "ncnn").family == "*"
    assert layer_limit_for("LiteHRNet", "ncnn").family == "LiteHRNet"
