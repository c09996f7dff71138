"""The values that the template of the HTML report shows, made from `Results`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from poseconform.report.data.diff import change_counts, changes
from poseconform.report.data.fingerprint import Group, groups_of, one_liner
from poseconform.report.data.planted import PlantedRow, planted_of, trust_of, without_planted
from poseconform.report.data.verdict import (
    Verdict,
    counts,
    disagreeing,
    lone_failures,
    verdict_of,
)
from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    OUTCOMES,
    PRECISIONS,
    SHAPES,
    Look,
    backend_name,
    in_order,
    look_of,
)
from poseconform.report.page.charts import Bars, Strip, charts_of
from poseconform.report.page.grid import Column, Grid, grid_of, idle_columns
from poseconform.report.page.payload import payload_of
from poseconform.report.text.strings import (
    duration,
    headroom,
    number,
    one_line,
    pixels,
    plural,
    points,
    visible,
)
from poseconform.results.records import CellRecord
from poseconform.results.results import Results

CHANGE_MARKS = {
    "newly-failing": "new",
    "newly-passing": "mended",
    "still-failing": "still",
    "missing": "gone",
    "new": "added",
}


@dataclass(frozen=True)
class Brief:
    """A cell as the matrix shows it; `index` is its place in the payload."""

    index: int
    look: Look
    detail: str
    mark: str
    pixels: str
    points: str
    headroom: str
    fill: str
    latency: str


@dataclass(frozen=True)
class Line:
    """A row of the matrix."""

    family: str
    model: str
    first: bool
    places: tuple[tuple[Brief, ...], ...]


@dataclass(frozen=True)
class Choice:
    """A filter with a drop-down list: its name in the hash, its label, its values."""

    name: str
    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Everything the template asks for, ready to be shown."""

    title: str
    created: str
    verdict: Verdict
    tally: tuple[tuple[Look, int], ...]
    trust: str
    planted: tuple[PlantedRow, ...]
    baseline: tuple[tuple[str, str, int], ...]
    environment: str
    run: tuple[str, ...]
    choices: tuple[Choice, ...]
    flags: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, int], ...]
    columns: tuple[Column, ...]
    strips: tuple[Strip, ...]
    bars: Bars | None
    lines: tuple[Line, ...]
    legend: tuple[tuple[Look, str], ...]
    fingerprint: tuple[Group, ...]
    payload: dict[str, Any]
    cells: tuple[CellRecord, ...]


def page_of(results: Results, baseline: Results | None = None) -> Page:
    """The page of `results`; changes are against `baseline` where there is one."""
    cells, grid = results.cells, grid_of(results.cells)
    changed = {} if baseline is None else changes(baseline, results)
    lone = lone_failures(cells)
    payload, ordered = payload_of(grid, changed, lone)
    strips, bars = charts_of(grid)
    tally = tuple((look_of(kind), count) for kind, count in counts(cells).items())
    return Page(
        title="Compatibility report",
        created=visible(results.created),
        verdict=verdict_of(cells, results.interrupted),
        tally=tally,
        trust=trust_of(results.run),
        planted=planted_of(results.run),
        baseline=change_counts(changed) if baseline is not None else (),
        environment=one_liner(results.environment),
        run=_run_lines(results.run),
        choices=_choices(cells),
        flags=_flags(grid, cells, lone, compared=baseline is not None),
        groups=_column_groups(grid.columns),
        columns=tuple(_shown(column) for column in grid.columns),
        strips=strips,
        bars=bars,
        lines=_lines(grid, ordered, changed),
        legend=tuple((look, look.meaning) for look in OUTCOMES),
        fingerprint=groups_of(results.environment, without_planted(results.run)),
        payload=payload,
        cells=ordered,
    )


def _lines(
    grid: Grid, ordered: Sequence[CellRecord], changed: Mapping[str, str]
) -> tuple[Line, ...]:
    index = {id(cell): place for place, cell in enumerate(ordered)}
    lines, family = [], None
    for row in grid.rows:
        places = tuple(
            tuple(_brief(cell, index[id(cell)], changed) for cell in place) for place in row.places
        )
        lines.append(Line(visible(row.family), visible(row.model), row.family != family, places))
        family = row.family
    return tuple(lines)


def _brief(cell: CellRecord, index: int, changed: Mapping[str, str]) -> Brief:
    detail = cell.outcome.partition(":")[2] or cell.code
    return Brief(
        index=index,
        look=look_of(cell.outcome),
        detail=one_line(detail, 40),
        mark=CHANGE_MARKS.get(changed.get(cell.cell_id, ""), "split" if disagreeing(cell) else ""),
        pixels="" if cell.worst_px is None else f"{pixels(cell.worst_px)} px",
        points=points(cell.accuracy.points_lost if cell.accuracy else None),
        headroom="" if cell.headroom is None else headroom(cell.headroom),
        fill="" if cell.headroom is None else _fill(cell.headroom),
        latency="" if cell.median_ms is None else f"{number(cell.median_ms)} ms",
    )


def _fill(headroom: float) -> str:
    """How far the bar goes, in per cent; what is not a number fills it."""
    return f"{round(100 * headroom)}" if 0 <= headroom < 1 else "100"


def _shown(column: Column) -> Column:
    texts = (column.backend, column.precision, column.shape_mode, column.variant)
    return Column(*(visible(text) for text in texts))


def _column_groups(columns: Iterable[Column]) -> tuple[tuple[str, int], ...]:
    groups: list[tuple[str, int]] = []
    for column in columns:
        name = visible(backend_name(column.backend))
        if groups and groups[-1][0] == name:
            groups[-1] = (name, groups[-1][1] + 1)
        else:
            groups.append((name, 1))
    return tuple(groups)


def _choices(cells: Sequence[CellRecord]) -> tuple[Choice, ...]:
    backends = tuple(name for name, _ in BACKENDS)
    rows = (
        ("family", "Family", in_order((c.family for c in cells), FAMILIES)),
        ("model", "Model", in_order((c.model for c in cells), ())),
        ("backend", "Backend", in_order((c.backend for c in cells), backends)),
        ("precision", "Precision", in_order((c.precision for c in cells), PRECISIONS)),
        ("shape", "Shape", in_order((c.shape_mode for c in cells), SHAPES)),
    )
    return tuple(Choice(name, label, tuple(visible(v) for v in vs)) for name, label, vs in rows)


def _flags(
    grid: Grid, cells: Sequence[CellRecord], lone: Collection[str], *, compared: bool
) -> tuple[tuple[str, str], ...]:
    """The filters that are on or off: name in the hash and label, those that would find a cell."""
    rows = (
        ("changed", "changed", compared),
        ("lone", "only one backend fails", bool(lone)),
        ("idle", "flows not selected", bool(idle_columns(grid))),
        ("split", "runners disagree", any(disagreeing(cell) for cell in cells)),
    )
    return tuple((name, label) for name, label, useful in rows if useful)


def _run_lines(run: Mapping[str, Any]) -> tuple[str, ...]:
    lines = []
    seconds = run.get("seconds")
    if isinstance(seconds, int | float):
        lines.append(f"took {duration(float(seconds))}")
    for key, noun in (("exports", "export"), ("cache_hits", "cache hit")):
        if isinstance(run.get(key), int):
            lines.append(plural(run[key], noun))
    return tuple(lines)
