"""What must hold of the judge's arithmetic for every value: metrics, tolerances, names, merges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fixtures.builders import make_cell
from poseconform.compare import metrics
from poseconform.compare import tolerances as tolerance
from poseconform.compare.metrics import (
    Detections,
    keypoint_distances,
    match_detections,
    tensor_error,
)
from poseconform.compare.tolerances import TOLERANCES, allowed_error, headroom
from poseconform.pytest_plugin.recording import base_record
from poseconform.report.data.merge import merge_results
from poseconform.results.records import CellRecord, StageRecord
from poseconform.results.results import Results
from posedeploy.config import parse_name
from posedeploy.config.naming import DeployConfigName
from suites.unit.posedeploy.config.names import deploy_config_names

positive = st.floats(0, 1e6)
seeds = st.integers(0, 2**32)


@st.composite
def detections(draw: st.DrawFn, most: int = 6) -> Detections:
    """People anywhere, in no order; some close to each other."""
    rng, count = np.random.default_rng(draw(seeds)), draw(st.integers(0, most))
    spread = draw(st.sampled_from([0.5, 5.0, 500.0]))
    low = rng.uniform(0, spread, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(1, 50, (count, 2))], axis=1)
    points = rng.uniform(0, spread, (count, 3, 2))
    return Detections(boxes, rng.uniform(0, 1, count), points, rng.uniform(0, 1, (count, 3)))


@given(a=detections(), b=detections(), near=st.floats(0.1, 50))
def test_matching_is_symmetric(a: Detections, b: Detections, near: float) -> None:
    pairs = set(zip(*map(tuple, match_detections(a, b, near)), strict=True))
    swapped = set(zip(*map(tuple, match_detections(b, a, near)), strict=True))
    assert pairs == {(i, j) for j, i in swapped}


@given(a=detections(), seed=seeds)
def test_equal_sets_match_whole_and_without_distance(a: Detections, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(a))
    rows, columns = match_detections(a, a.select(order), 1e-9)
    assert sorted(rows) == list(range(len(a)))
    np.testing.assert_array_equal(order[columns], rows)
    distances = keypoint_distances(a.keypoints[rows], a.select(order).keypoints[columns])
    assert not distances.any()


@given(a=detections(), b=detections(), near=st.floats(0.1, 50))
def test_what_is_matched_is_near(a: Detections, b: Detections, near: float) -> None:
    rows, columns = match_detections(a, b, near)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    assert (np.abs(a.boxes[rows] - b.boxes[columns]) <= near).all()
    assert (np.abs(a.keypoints[rows] - b.keypoints[columns]) <= near).all()
    assert (100 * np.abs(a.scores[rows] - b.scores[columns]) <= near).all()


@given(seed=seeds, count=st.integers(1, 50), scale=st.floats(1e-6, 1e6))
def test_an_error_is_symmetric_zero_for_equals_and_grows(
    seed: int, count: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, count)) * scale
    one, other = tensor_error(a, b), tensor_error(b, a)
    assert (one.max, one.rms) == (other.max, other.rms)
    assert one.rms <= one.max * (1 + 1e-12)
    same = tensor_error(a, a)
    assert (same.max, same.rms, same.sqnr_db) == (0, 0, math.inf)
    assert tensor_error(b + 2 * (a - b), b).max >= one.max
    assert sum(one.histogram) == np.count_nonzero(a != b)


@given(seed=seeds, bad=st.sampled_from([math.nan, math.inf, -math.inf]), place=st.integers(0, 9))
def test_one_number_that_is_none_is_never_within(seed: int, bad: float, place: int) -> None:
    expected = np.random.default_rng(seed).normal(size=10)
    got = expected.copy()
    got[place] = bad
    with np.errstate(invalid="ignore"):
        error = tensor_error(got, expected)
    allowed = tolerance.Allowed(1e300, 1e300)
    assert headroom(error.max, error.rms, allowed) > 1


@pytest.mark.parametrize("row", TOLERANCES, ids=lambda row: f"{row.backend}-{row.precision}")
@given(values=st.tuples(*[positive] * 4), place=st.integers(0, 3), more=positive)
def test_what_is_allowed_grows_with_everything(
    row: tolerance.Tolerance, values: tuple[float, ...], place: int, more: float
) -> None:
    grown = tuple(v + more * (i == place) for i, v in enumerate(values))
    less, most = allowed_error(row, *values), allowed_error(row, *grown)
    assert less.max <= most.max
    assert less.rms <= most.rms
    assert (less.max == most.max) if place in {1, 3} else (less.rms == most.rms)


@given(error=st.tuples(positive, positive), allowed=st.tuples(positive, positive), more=positive)
def test_headroom_grows_with_the_error_and_shrinks_with_the_limit(
    error: tuple[float, float], allowed: tuple[float, float], more: float
) -> None:
    limit = tolerance.Allowed(*allowed)
    here = headroom(*error, limit)
    assert headroom(error[0] + more, error[1], limit) >= here
    assert headroom(error[0], error[1] + more, limit) >= here
    assert headroom(*error, replace(limit, max=limit.max + more)) <= here
    assert headroom(*error, replace(limit, rms=limit.rms + more)) <= here
    within = error[0] <= limit.max and error[1] <= limit.rms
    assert (here <= 1) == within


@given(deploy_config_names(st.tuples(st.integers(1, 4096), st.integers(1, 4096))))
def test_a_deploy_configs_name_is_what_it_says(name: DeployConfigName) -> None:
    assert parse_name(str(name)) == name
    assert str(parse_name(f"{name}.py")) == str(name)


STAGES = st.sampled_from([
    StageRecord("numeric"),
    StageRecord("numeric", 0.5, "mismatch", "3 is too much"),
    StageRecord("load", 1.0, "crash", "SIGSEGV in load", "SIGSEGV"),
])  # fmt: skip


@st.composite
def results(draw: st.DrawFn) -> Results:
    """What one runner says of some of three cells."""
    cells: list[CellRecord] = []
    for name in draw(st.sets(st.sampled_from(["a", "b", "c"]))):
        base = base_record(make_cell(name=name), "", "", "fake")
        stage = draw(STAGES)
        outcome = {"pass": "pass", "mismatch": "mismatch", "crash": "crash"}[stage.outcome]
        outcome = draw(st.sampled_from([outcome, "unavailable:no-device", "not-selected"]))
        worst = draw(st.none() | st.floats(0, 5))
        cells.append(replace(base, outcome=outcome, headroom=worst, stages=(stage,)))
    planted: Mapping[str, Any] = draw(
        st.sampled_from([{}, {"planted_defects": {"caught": 1, "total": 2}}])
    )
    created = draw(st.sampled_from(["2026-11-22T01:00:00Z", "2026-11-22T02:00:00Z"]))
    environment = {"os": draw(st.sampled_from(["linux", "macos"]))}
    run = {"seconds": 1.0, **planted}
    return Results(created=created, environment=environment, run=run, cells=tuple(cells))


@given(a=results(), b=results(), c=results())
def test_merging_runners_is_associative_and_in_no_order(
    a: Results, b: Results, c: Results
) -> None:
    whole = merge_results({"a": a, "b": b, "c": c})
    assert merge_results({"c": c, "a": a, "b": b}) == whole
    assert merge_results({"ab": merge_results({"a": a, "b": b}), "c": c}) == whole
    assert merge_results({"a": a, "bc": merge_results({"b": b, "c": c})}) == whole


@given(a=results(), b=results())
def test_merging_what_was_merged_changes_nothing(a: Results, b: Results) -> None:
    once = merge_results({"a": a, "b": b})
    assert merge_results({"again": once}) == once


@given(seed=seeds, size=st.integers(1, 30))
def test_percentiles_are_in_order_and_within(seed: int, size: int) -> None:
    distances = np.random.default_rng(seed).exponential(size=size)
    distance = metrics.pixel_distances(distances)
    assert distances.min() <= distance.p50 <= distance.p99 <= distance.max == distances.max()
    assume(size > 1)
    assert metrics.pixel_distances(distances[::-1]) == distance
