"""The charts of the page, as numbers that a template draws: rows, dots, bars, ticks.

Two kinds: a strip of dots on a logarithmic axis, one row a flow and one dot a cell; and a bar a
flow that shows where the time goes.  Dots of one row are one SVG path; only those worth pointing
at are elements of their own with a title.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """A dot with a title."""

    x: float
    y: float
    title: str
    bad: bool


class Row(NamedTuple):
    """A row of dots, or of segments of a bar."""

    label: str
    y: float
    note: str
    path: str = ""  # of the dots without a title
    ranges: str = ""  # path of the spreads
    dots: Sequence[Dot] = ()
    segments: Sequence[tuple[float, float, int, str]] = ()  # x, width, index of the stage, title


class Chart(NamedTuple):
    """A strip, which has ticks and may have a limit; or stacked bars, which have a legend."""

    title: str
    note: str
    rows: Sequence[Row]
    height: float
    ticks: Sequence[tuple[float, str]] = ()  # x and label
    limit: float | None = None  # its x
    legend: Sequence[tuple[int, str]] = ()  # index and name of the stages in the bars


def charts_of(grid: Grid) -> tuple[tuple[Chart, ...], Chart | None]:
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
            flows, lambda c: (c.median_ms, c.latency_ms.iqr if c.latency_ms else 0.0),
            lambda v: f"{number(v)} ms",
        ),
        _strip(
            "Size by flow",
            "All files of the SDK model folder of each cell.",
            flows, lambda c: (c.artifact_bytes, 0.0), size, tick=size,
        ),
    )  # fmt: skip
    return tuple(strip for strip in strips if strip.rows), _bars(flows)


def _strip(
    title: str,
    note: str,
    groups: Groups,
    measure: Measure,
    show: Callable[[float], str],
    *,
    limit: float | None = None,
    tick: Callable[[float], str] = number,
) -> Chart:
    samples = [(label, _samples(cells, measure)) for label, cells in groups]
    samples = [(label, measured) for label, measured in samples if measured]
    values = [value for _, measured in samples for _, value, _ in measured]
    axis = low, high = _decades([*values, *([limit] if limit else [])])
    rows = [
        _strip_row(label, TOP + ROW * (index + 0.5), measured, axis, show)
        for index, (label, measured) in enumerate(samples)
    ]
    step = max(1, math.ceil((high - low) / 5))
    ticks = [(_x(10.0**p, low, high), tick(10.0**p)) for p in range(low, high + 1, step)]
    at = None if limit is None else _x(limit, low, high)
    return Chart(title, note, rows, TOP + ROW * len(rows) + 24, ticks, at)


def _samples(
    cells: Iterable[CellRecord], measure: Measure
) -> list[tuple[CellRecord, float, float]]:
    """The cells that were measured, with value and spread."""
    measured = ((cell, *measure(cell)) for cell in cells)
    return [
        (cell, value, spread if math.isfinite(spread) else 0.0)
        for cell, value, spread in measured
        if value is not None and math.isfinite(value) and value >= 0
    ]


def _strip_row(
    label: str, y: float, samples: Sequence[tuple[CellRecord, float, float]],
    axis: tuple[int, int], show: Callable[[float], str],
) -> Row:  # fmt: skip
    worst = max(samples, key=lambda sample: sample[1])
    dots, path, ranges = [], [], []
    for index, sample in enumerate(samples):
        cell, value, spread = sample
        x, shifted = _x(value, *axis), y + (index % 3 - 1) * 3.5
        if spread:
            start = _x(max(value - spread / 2, _LOWEST), *axis)
            ranges.append(f"M{start:.1f} {shifted:.1f}H{_x(value + spread / 2, *axis):.1f}")
        if failed(cell) or sample is worst:
            dots.append(Dot(x, shifted, f"{visible(cell.model)}: {show(value)}", failed(cell)))
        else:
            path.append(f"M{x:.1f} {shifted:.1f}h0")
    return Row(label, y, show(worst[1]), "".join(path), "".join(ranges), dots)


def _bars(groups: Groups) -> Chart | None:
    means = [(label, _mean_seconds(cells)) for label, cells in groups]
    means = [(label, seconds) for label, seconds in means if seconds.any()]
    if not means:
        return None
    scale = (RIGHT - LEFT) / max(seconds.sum() for _, seconds in means)
    rows = []
    for row, (label, seconds) in enumerate(means):
        starts = LEFT + scale * (np.cumsum(seconds) - seconds)
        segments = [
            (float(starts[i]), scale * value, i, f"{STAGES[i]}: {duration(value)}")
            for i, value in enumerate(seconds.tolist())
            if value
        ]
        y = TOP + ROW * (row + 0.5)
        rows.append(Row(label, y, duration(float(seconds.sum())), segments=segments))
    return Chart(
        "Time by stage",
        "Mean over the cells of a flow; what came from the cache took no time.",
        rows,
        TOP + ROW * len(rows) + 4,
        legend=[(i, name) for i, name in enumerate(STAGES) if any(m[i] for _, m in means)],
    )


def _mean_seconds(cells: Sequence[CellRecord]) -> NDArray[np.float64]:
    """`[S]` mean seconds of each of `STAGES`."""
    totals = np.zeros(len(STAGES))
    for cell in cells:
        for stage in cell.stages:
            if math.isfinite(stage.seconds) and stage.seconds > 0:
                totals[STAGES.index(stage.name)] += stage.seconds
    return totals / max(len(cells), 1)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold all positive `values`, at least one apart."""
    clipped = [min(max(v, _LOWEST), _HIGHEST) for v in values if v > 0] or [1.0]
    low, high = math.floor(math.log10(min(clipped))), math.ceil(math.log10(max(clipped)))
    return low, max(high, low + 1)


def _x(value: float, low: int, high: int) -> float:
    """X of `value` on the axis; zero, which has no logarithm, stands at its start."""
    share = (math.log10(value) - low) / (high - low) if value > 0 else 0.0
    return LEFT + (RIGHT - LEFT) * min(max(share, 0.0), 1.0)
