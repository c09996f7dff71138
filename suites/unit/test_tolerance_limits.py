"""Each row of the tolerance tables passes what is within it and fails what is just outside."""

from __future__ import annotations

import math

import numpy as np
import pytest

from poseconform import tolerance
from poseconform.tolerance import (
    ACCURACY_LIMITS,
    LAYER_LIMITS,
    TOLERANCES,
    AccuracyLimit,
    Allowed,
    LayerLimit,
    Tolerance,
    accuracy_limit_for,
    allowed_error,
    headroom,
    layer_limit_for,
    tolerance_for,
)

FLOWS = [(row.backend, row.precision) for row in TOLERANCES]


@pytest.mark.parametrize("row", TOLERANCES, ids=lambda row: f"{row.backend}-{row.precision}")
@pytest.mark.parametrize("yardstick", [0.0, 1e-3, 10.0])
def test_a_row_rejects_what_is_just_over_in_maximum_or_in_rms(
    row: Tolerance, yardstick: float
) -> None:
    limit = allowed_error(row, 7.0, 3.0, yardstick, yardstick / 2)
    assert limit.max == max(7.0 * row.floor_max, yardstick * row.k_max)
    assert limit.rms == max(3.0 * row.floor_rms, yardstick / 2 * row.k_rms)
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
    assert found is not None
    assert (found.backend, found.precision) == (backend, precision)
    general = tolerance_for("nobody", precision)
    assert general is None or general.backend == "*"
    assert tolerance_for(backend, "fp7") is None


def test_a_row_of_another_backend_is_never_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, *_) = TOLERANCES
    rows = tuple(_row(first, backend) for backend in ("b", "*", "a"))
    monkeypatch.setattr(tolerance, "TOLERANCES", rows)
    assert tolerance_for("a", first.precision) is rows[2]
    assert tolerance_for("b", first.precision) is rows[0]
    assert tolerance_for("c", first.precision) is rows[1]
    monkeypatch.setattr(tolerance, "TOLERANCES", rows[2:])
    assert tolerance_for("c", first.precision) is None


def _row(row: Tolerance, backend: str) -> Tolerance:
    values = {**vars(row), "backend": backend}
    return Tolerance(**values)


def test_layers_are_judged_by_their_backends_row(monkeypatch: pytest.MonkeyPatch) -> None:
    for row in LAYER_LIMITS:
        assert layer_limit_for(row.backend) is row
    assert layer_limit_for("nobody") is None
    rows = (LayerLimit("a", 1, 1, "r"), LayerLimit("b", 2, 1, "r"))
    monkeypatch.setattr(tolerance, "LAYER_LIMITS", rows)
    assert layer_limit_for("b") is rows[1]
    assert layer_limit_for("*") is None


def limit(family: str, backend: str, precision: str = "int8") -> AccuracyLimit:
    return AccuracyLimit(family, backend, precision, 1, 1, 1, 1, "r")


@pytest.mark.parametrize("order", [1, -1])
def test_the_most_particular_row_is_taken_family_first(
    monkeypatch: pytest.MonkeyPatch, order: int
) -> None:
    rows = (
        limit("*", "*"), limit("*", "ncnn"), limit("RTMO", "*"), limit("RTMO", "ncnn"),
        limit("RTMO", "ncnn", "fp16"), limit("SimCC", "openvino"),
    )[::order]  # fmt: skip
    monkeypatch.setattr(tolerance, "ACCURACY_LIMITS", rows)

    def found(family: str, backend: str, precision: str = "int8") -> tuple[str, str] | None:
        row = accuracy_limit_for(family, backend, precision)
        return (row.family, row.backend) if row else None

    assert found("RTMO", "ncnn") == ("RTMO", "ncnn")
    assert found("RTMO", "openvino") == ("RTMO", "*")
    assert found("SimCC", "ncnn") == ("*", "ncnn")
    assert found("SimCC", "openvino") == ("SimCC", "openvino")
    assert found("HRNet", "openvino") == ("*", "*")
    assert found("RTMO", "ncnn", "fp16") == ("RTMO", "ncnn")
    assert found("SimCC", "ncnn", "fp16") is None


def test_every_limit_allows_something_and_not_everything() -> None:
    for row in TOLERANCES:
        numbers = (row.k_max, row.k_rms, row.floor_max, row.floor_rms, row.keypoint_px)
        assert np.isfinite(numbers).all()
        assert min(numbers) > 0
    for layer in LAYER_LIMITS:
        assert layer.min_db > 0
        assert 0 < layer.least_quantised <= 1
    for accuracy in ACCURACY_LIMITS:
        assert 0 < accuracy.mean_px < accuracy.p99_px < math.inf
        assert 0 < accuracy.oks < 1
        assert 0 < accuracy.points < 100
