"""Each row of the tolerance tables passes what is within it and fails what is just outside."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from poseconform.compare.tolerances import (
    ACCURACY_LIMITS,
    TOLERANCES,
    AccuracyLimit,
    Allowed,
    Tolerance,
    accuracy_limit_for,
    allowed_error,
    headroom,
    tolerance_for,
)
from posedeploy.runtime.quantized.limits import LAYER_LIMITS, LayerLimit, layer_limit_for

FLOWS = [(row.backend, row.precision) for row in TOLERANCES]


@pytest.mark.parametrize("row", TOLERANCES, ids=lambda row: f"{row.backend}-{row.precision}")
@pytest.mark.parametrize("ref_error", [0.0, 1e-3, 10.0])
def test_a_row_rejects_what_is_just_over_in_maximum_or_in_rms(
    row: Tolerance, ref_error: float
) -> None:
    limit = allowed_error(row, 7.0, 3.0, ref_error, ref_error / 2)
    assert limit.max == max(7.0 * row.floor_max, ref_error * row.k_max)
    assert limit.rms == max(3.0 * row.floor_rms, ref_error / 2 * row.k_rms)
    assert headroom(limit.max, limit.rms, limit) == 1.0
    assert headroom(limit.max * 1.001, limit.rms, limit) > 1
    assert headroom(limit.max, limit.rms * 1.001, limit) > 1


def test_headroom_is_the_worse_share() -> None:
    assert headroom(1.0, 3.0, Allowed(4.0, 4.0)) == 0.75
    assert headroom(3.0, 1.0, Allowed(4.0, 4.0)) == 0.75
    assert headroom(0.0, 0.0, Allowed(4.0, 4.0)) == 0.0
    assert headroom(0.0, 1.0, Allowed(0.0, 2.0)) == 0.5
    assert headroom(1.0, 0.0, Allowed(0.0, 2.0)) == math.inf
    assert headroom(1.0, 0.0, Allowed(1.0, 0.0)) == 1.0
    assert headroom(0.5, 0.0, Allowed(0.25, 1.0)) == 2.0
    assert headroom(1.0, 1.0, Allowed(-1.0, 2.0)) == math.inf


def test_an_error_that_is_no_number_has_no_headroom() -> None:
    for errors in ((math.nan, 0.0), (0.0, math.nan), (math.inf, 0.0), (0.0, math.inf)):
        assert headroom(*errors, Allowed(1e300, 1e300)) == math.inf
    assert headroom(1.0, 1.0, Allowed(math.nan, 1.0)) == math.inf


@pytest.mark.parametrize(("backend", "precision"), FLOWS)
def test_a_flow_has_its_own_row_or_that_of_all(backend: str, precision: str) -> None:
    found = tolerance_for(backend, precision)
    assert (found.backend, found.precision) == (backend, precision)
    with pytest.raises(LookupError, match="no tolerance for"):
        tolerance_for(backend, "fp7")


def test_a_row_of_another_backend_is_never_taken() -> None:
    (first, *_) = TOLERANCES
    rows = tuple(replace(first, backend=backend) for backend in ("b", "*", "a"))
    assert tolerance_for("a", first.precision, rows) is rows[2]
    assert tolerance_for("b", first.precision, rows) is rows[0]
    assert tolerance_for("c", first.precision, rows) is rows[1]
    with pytest.raises(LookupError, match="no tolerance for c"):
        tolerance_for("c", first.precision, rows[2:])


ROWS = (("*", "*"), ("*", "ncnn"), ("RTMO", "*"), ("RTMO", "ncnn"), ("SimCC", "openvino"))
# (family, backend) that is asked for -> (family, backend) of the row that is taken
TAKEN = {
    ("RTMO", "ncnn"): ("RTMO", "ncnn"),
    ("RTMO", "openvino"): ("RTMO", "*"),
    ("SimCC", "ncnn"): ("*", "ncnn"),
    ("SimCC", "openvino"): ("SimCC", "openvino"),
    ("HRNet", "openvino"): ("*", "*"),
}


@pytest.mark.parametrize("order", [1, -1])
def test_the_most_particular_row_is_taken_family_first(order: int) -> None:
    layers = [LayerLimit(f, b, 1, 2, 0.5, "r") for f, b in ROWS][::order]
    for (family, backend), expected in TAKEN.items():
        row = layer_limit_for(family, backend, layers)
        assert (row.family, row.backend) == expected
    general, own = (AccuracyLimit(f, "int8", 1, None, "r") for f in ("*", "RTMO"))
    other = AccuracyLimit("RTMO", "fp16", 1, None, "r")
    particular = AccuracyLimit("RTMO", "fp16", 1, None, "r", "openvino")
    accuracies = [general, own, other, particular][::order]
    assert accuracy_limit_for("RTMO", "int8", "ncnn", accuracies) is own
    assert accuracy_limit_for("HRNet", "int8", "ncnn", accuracies) is general
    assert accuracy_limit_for("RTMO", "fp16", "ncnn", accuracies) is other
    assert accuracy_limit_for("RTMO", "fp16", "openvino", accuracies) is particular
    with pytest.raises(LookupError, match="no limit for the accuracy of HRNet fp16"):
        accuracy_limit_for("HRNet", "fp16", "ncnn", accuracies)


def test_without_a_row_there_is_no_limit() -> None:
    rows = (LayerLimit("RTMO", "ncnn", 1, 2, 0.5, "r"),)
    assert layer_limit_for("RTMO", "ncnn", rows) is rows[0]
    for flow in (("RTMO", "openvino"), ("SimCC", "ncnn")):
        with pytest.raises(LookupError, match=f"layers of {flow[0]} on {flow[1]}"):
            layer_limit_for(*flow, rows)


def test_every_limit_allows_something_and_not_everything() -> None:
    for row in TOLERANCES:
        numbers = (row.k_max, row.k_rms, row.floor_max, row.floor_rms, row.keypoint_px)
        assert np.isfinite(numbers).all()
        assert min(numbers) > 0
    for layer in LAYER_LIMITS:
        assert layer.min_db < layer.median_db  # one layer of many may be noise; most may not
        assert layer.median_db > 20
        assert 0 < layer.least_quantized <= 1
    for accuracy in ACCURACY_LIMITS:
        assert 0 < accuracy.points < 100
        if shift := accuracy.shift:
            assert 0 < shift.mean_px < shift.p99_px < math.inf
            assert 0 < shift.oks < 1
            assert 0 < shift.points < 100
