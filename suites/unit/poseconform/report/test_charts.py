"""The charts: every measured cell has its dot, at its x, whatever was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fixtures.sample_results import sample_results
from poseconform.report.data.vocabulary import ran
from poseconform.report.page.charts import LEFT, RIGHT, Chart, charts_of
from poseconform.report.page.grid import grid_of
from poseconform.results import records as oc

CELL = next(c for c in sample_results(20).cells if c.outcome == "pass")


def dots(strip: Chart) -> int:
    return sum(row.path.count("M") + len(row.dots) for row in strip.rows)


def test_every_measured_cell_has_a_dot_in_every_chart() -> None:
    cells = sample_results(200).cells
    strips, bars = charts_of(grid_of(cells))
    assert [s.title for s in strips] == [
        "Error by flow",
        "Accuracy lost by precision",
        "Latency by flow",
        "Size by flow",
    ]
    measured = [c for c in cells if ran(c) and c.headroom is not None]
    assert [dots(strip) for strip in strips] == [len(measured)] * 4
    assert bars is not None
    for row in bars.rows:
        assert sum(width for _, width, _, _ in row.segments) <= RIGHT - LEFT + 1e-6


def test_the_limit_parts_passing_from_failing() -> None:
    bad = replace(CELL, model="bad", outcome="mismatch", headroom=3.0)
    good = replace(CELL, headroom=0.3)
    strip = charts_of(grid_of([good, bad]))[0][0]
    assert strip.limit is not None
    (row,) = strip.rows
    (dot,) = row.dots
    assert dot.bad
    assert dot.title == "bad: 3.00"
    x = float(row.path.removeprefix("M").split()[0])
    assert x < strip.limit < dot.x


@pytest.mark.parametrize("value", [0.0, 1e-300, 1e300])
def test_dots_stay_on_the_paper(value: float) -> None:
    cells = [replace(CELL, headroom=value), replace(CELL, model="b", headroom=0.5)]
    for row in charts_of(grid_of(cells))[0][0].rows:
        for dot in row.dots:
            assert LEFT <= dot.x <= RIGHT


def test_what_is_no_number_is_left_out() -> None:
    odd = replace(
        CELL,
        headroom=math.nan,
        keypoint_error_px=oc.PixelError(max=math.inf),
        latency_ms=oc.LatencyRecord(5.0, math.nan),
        artifacts=(),
        stages=(oc.StageRecord("load", math.nan),),
    )
    strips, bars = charts_of(grid_of([odd]))
    assert [s.title for s in strips] == ["Latency by flow"]
    assert bars is None
    assert charts_of(grid_of([])) == ((), None)
