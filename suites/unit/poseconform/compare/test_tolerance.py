"""The tolerance: more error never passes more easily, and NaN never passes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poseconform.compare.tolerances import (
    NEAR_TIES,
    TOLERANCES,
    Allowed,
    Tolerance,
    allowed_error,
    headroom,
    tolerance_for,
)

Sizes = tuple[float, float, float, float]
sizes = st.floats(0, 1e6)
rows = st.sampled_from(TOLERANCES)
FIELDS = ("k_max", "k_rms", "floor_max", "floor_rms")


@given(rows, st.tuples(sizes, sizes, sizes, sizes), st.integers(0, 3), st.floats(0, 1e6))
def test_allowed_is_monotone_in_every_size_and_ref_error(
    row: Tolerance, numbers: Sizes, place: int, more: float
) -> None:
    larger = list(numbers)
    larger[place] += more
    before, after = allowed_error(row, *numbers), allowed_error(row, *larger)
    assert after.max >= before.max
    assert after.rms >= before.rms


@given(rows, st.tuples(sizes, sizes, sizes, sizes), st.sampled_from(FIELDS), st.floats(0, 10))
def test_allowed_is_monotone_in_every_field(
    row: Tolerance, numbers: Sizes, name: str, more: float
) -> None:
    field: dict[str, Any] = {name: getattr(row, name) + more}
    wider = replace(row, **field)
    before, after = allowed_error(row, *numbers), allowed_error(wider, *numbers)
    assert after.max >= before.max
    assert after.rms >= before.rms


@given(rows, sizes, sizes)
def test_allowed_is_the_larger_of_floor_and_ref_error(
    row: Tolerance, size: float, ref_error: float
) -> None:
    found = allowed_error(row, size, size, ref_error, ref_error)
    assert found.max == max(row.floor_max * size, row.k_max * ref_error)
    assert found.rms == max(row.floor_rms * size, row.k_rms * ref_error)


@given(sizes, sizes, st.floats(1e-9, 1e3), st.floats(1e-9, 1e3), st.floats(0, 1e3))
def test_headroom_is_monotone(
    worst: float, rms: float, limit_max: float, limit_rms: float, more: float
) -> None:
    allowed = Allowed(limit_max, limit_rms)
    here = headroom(worst, rms, allowed)
    assert headroom(worst + more, rms, allowed) >= here
    assert headroom(worst, rms + more, allowed) >= here
    assert headroom(worst, rms, Allowed(limit_max + more, limit_rms + more)) <= here


@given(sizes, sizes, st.floats(1e-9, 1e3), st.floats(1e-9, 1e3))
def test_headroom_is_at_most_one_exactly_when_both_limits_hold(
    a: float, b: float, limit_a: float, limit_b: float
) -> None:
    holds = a / limit_a <= 1 and b / limit_b <= 1
    assert (headroom(a, b, Allowed(limit_a, limit_b)) <= 1) == holds


@pytest.mark.parametrize("errors", [(math.nan, 0.1), (0.1, math.nan), (math.nan, math.nan)])
@pytest.mark.parametrize("limit", [0.0, 1.0, math.inf, math.nan])
def test_nan_never_passes(errors: tuple[float, float], limit: float) -> None:
    assert headroom(*errors, Allowed(limit, limit)) == math.inf


def test_where_nothing_is_allowed_only_nothing_passes() -> None:
    assert headroom(0.0, 0.0, Allowed(0.0, 0.0)) == 0.0
    assert headroom(1e-300, 0.0, Allowed(0.0, 0.0)) == math.inf


def test_the_row_of_a_backend_goes_before_the_row_of_all() -> None:
    for row in TOLERANCES:
        assert tolerance_for(row.backend, row.precision) is row
    assert tolerance_for("no such backend", "fp32") is tolerance_for("*", "fp32")
    with pytest.raises(LookupError, match="no tolerance for onnxruntime fp7"):
        tolerance_for("onnxruntime", "fp7")


def test_every_row_has_a_reason_and_its_near_ties() -> None:
    assert len({(row.backend, row.precision) for row in TOLERANCES}) == len(TOLERANCES)
    for row in TOLERANCES:
        assert row.reason
        assert row.k_max >= 1.0
        assert row.k_rms >= 1.0
        assert row.precision in NEAR_TIES
