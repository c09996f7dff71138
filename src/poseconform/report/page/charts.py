"""The charts of the page, as numbers that a template draws: rows, dots, bars, ticks.

Two kinds: a strip of dots on a logarithmic axis, one row a flow and one dot a cell; and a bar a
flow that shows where the time goes.  Dots of one row are one SVG path; only those worth pointing
at are elements of their own with a title.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from poseconform.report.data.vocabulary import PRECISIONS, failed, in_order, ran
from poseconform.report.page.grid import Grid
from poseconform.report.text.strings import duration, headroom, number, pixels, size, visible
from poseconform.results.outcome import STAGES
from poseconform.results.records import CellRecord

LEFT, RIGHT, WIDTH = 172.0, 422.0, 500.0  # of the plot, in units of the drawing
ROW, TOP = 24.0, 14.0  # height of a row, and where the first begins
_LOWEST, _HIGHEST = 1e-9, 1e9  # an axis spans no more than this, whatever was measured


Groups = Sequence[tuple[str, Sequence[CellRecord]]]
Measure = Callable[[CellRecord], tuple[float | None, float]]  # value and spread


class Dot(NamedTuple):
    """A dot with a title; `x` and `y` in units of the drawing."""

    x: float
    y: float
    title: str
    bad: bool


class StripRow(NamedTuple):
    """A row of dots: those without a title are in `path`, `ranges` are their spreads."""

    label: str
    y: float
    path: str
    ranges: str
    dots: Sequence[Dot]
    note: str


class Strip(NamedTuple):
    """A strip chart: `ticks` are x and labels, `limit` is the x of the limit."""

    title: str
    note: str
    rows: Sequence[StripRow]
    ticks: Sequence[tuple[float, str]]
    limit: float | None
    height: float


class BarRow(NamedTuple):
    """A row of segments: x, width, index of the stage, title."""

    label: str
    y: float
    segments: Sequence[tuple[float, float, int, str]]
    note: str


class Bars(NamedTuple):
    """A chart of stacked bars; `legend` has the indices and names of the stages in it."""

    title: str
    note: str
    rows: Sequence[BarRow]
    legend: Sequence[tuple[int, str]]
    height: float


class Sample(NamedTuple):
    """One cell in a strip: its value, the spread around it, and what to call it."""

    value: float
    spread: float
    name: str
    bad: bool


def charts_of(grid: Grid) -> tuple[tuple[Strip, ...], Bars | None]:
    """The strips and the bars of the cells in `grid`; without those that had nothing to show."""
    flows = [
        (visible(column.label), [c for c in grid.column(index) if ran(c)])
        for index, column in enumerate(grid.columns)
    ]
    cells = [c for c in grid.cells if ran(c)]
    precisions = [
        (visible(name), [c for c in cells if c.precision == name])
        for name in in_order((c.precision for c in cells), PRECISIONS)
    ]
    strips = (
        _strip(
            "Error by flow",
            "Headroom of each cell: error over allowed error. Beyond the line it fails.",
            flows, lambda c: (c.headroom, 0.0), headroom, limit=1.0,
        ),
        _strip(
            "Accuracy lost by precision",
            "Worst keypoint error of each cell, pixels of the input image.",
            precisions, lambda c: (c.worst_px, 0.0), lambda v: f"{pixels(v)} px",
        ),
        _strip(
            "Latency by flow",
            "Median at batch 1 and interquartile range over the recorded runs, ms.",
            flows, _latency, lambda v: f"{number(v)} ms",
        ),
        _strip(
            "Size by flow",
            "All files of the SDK model folder of each cell.",
            flows, lambda c: (c.artifact_bytes, 0.0), _size, tick=_size,
        ),
    )  # fmt: skip
    return tuple(strip for strip in strips if strip.rows), _bars(flows)


def _latency(cell: CellRecord) -> tuple[float | None, float]:
    return cell.median_ms, 0.0 if cell.latency_ms is None else cell.latency_ms.iqr


def _strip(
    title: str,
    note: str,
    groups: Groups,
    measure: Measure,
    show: Callable[[float], str],
    *,
    limit: float | None = None,
    tick: Callable[[float], str] = number,
) -> Strip:
    rows = [(label, _samples(cells, measure)) for label, cells in groups]
    rows = [(label, samples) for label, samples in rows if samples]
    values = [s.value for _, samples in rows for s in samples] + ([limit] if limit else [])
    low, high = _decades(values)
    drawn = [
        _strip_row(label, TOP + ROW * (index + 0.5), samples, (low, high), show)
        for index, (label, samples) in enumerate(rows)
    ]
    step = max(1, math.ceil((high - low) / 5))
    ticks = [(_x(10.0**p, low, high), tick(10.0**p)) for p in range(low, high + 1, step)]
    at = None if limit is None else _x(limit, low, high)
    return Strip(title, note, drawn, ticks, at, TOP + ROW * len(rows) + 24)


def _samples(cells: Iterable[CellRecord], measure: Measure) -> list[Sample]:
    samples = []
    for cell in cells:
        value, spread = measure(cell)
        if value is not None and math.isfinite(value) and value >= 0:
            spread = spread if math.isfinite(spread) else 0.0
            samples.append(Sample(value, spread, visible(cell.model), failed(cell)))
    return samples


def _strip_row(
    label: str, y: float, samples: Sequence[Sample], axis: tuple[int, int],
    show: Callable[[float], str],
) -> StripRow:  # fmt: skip
    worst = max(samples, key=lambda s: s.value)
    dots, path, ranges = [], [], []
    for index, sample in enumerate(samples):
        x, shifted = _x(sample.value, *axis), y + (index % 3 - 1) * 3.5
        if sample.spread:
            start = _x(max(sample.value - sample.spread / 2, _LOWEST), *axis)
            end = _x(sample.value + sample.spread / 2, *axis)
            ranges.append(f"M{start:.1f} {shifted:.1f}H{end:.1f}")
        if sample.bad or sample is worst:
            dots.append(Dot(x, shifted, f"{sample.name}: {show(sample.value)}", sample.bad))
        else:
            path.append(f"M{x:.1f} {shifted:.1f}h0")
    return StripRow(label, y, "".join(path), "".join(ranges), dots, show(worst.value))


def _bars(groups: Groups) -> Bars | None:
    means = [(label, _means(cells)) for label, cells in groups]
    means = [(label, seconds) for label, seconds in means if sum(seconds)]
    if not means:
        return None
    longest = max(sum(seconds) for _, seconds in means)
    rows = [
        _bar_row(label, TOP + ROW * (index + 0.5), seconds, longest)
        for index, (label, seconds) in enumerate(means)
    ]
    used = [i for i in range(len(STAGES)) if any(seconds[i] for _, seconds in means)]
    return Bars(
        "Time by stage",
        "Mean over the cells of a flow; what came from the cache took no time.",
        rows,
        [(index, STAGES[index]) for index in used],
        TOP + ROW * len(rows) + 4,
    )


def _means(cells: Sequence[CellRecord]) -> list[float]:
    totals = [0.0] * len(STAGES)
    for cell in cells:
        for stage in cell.stages:
            if math.isfinite(stage.seconds) and stage.seconds > 0:
                totals[STAGES.index(stage.name)] += stage.seconds
    return [total / max(len(cells), 1) for total in totals]


def _bar_row(label: str, y: float, seconds: Sequence[float], longest: float) -> BarRow:
    segments, start = [], LEFT
    for index, value in enumerate(seconds):
        width = (RIGHT - LEFT) * value / longest
        if value:
            segments.append((start, width, index, f"{STAGES[index]}: {duration(value)}"))
        start += width
    return BarRow(label, y, segments, duration(sum(seconds)))


def _size(value: float) -> str:
    return size(round(value))


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold all positive `values`, at least one apart."""
    clipped = [min(max(v, _LOWEST), _HIGHEST) for v in values if v > 0] or [1.0]
    low, high = math.floor(math.log10(min(clipped))), math.ceil(math.log10(max(clipped)))
    return low, max(high, low + 1)


def _x(value: float, low: int, high: int) -> float:
    """Place of `value` on the axis; zero, which has no logarithm, stands at its start."""
    share = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
    return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)
