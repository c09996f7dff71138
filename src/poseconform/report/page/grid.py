"""The matrix model x flow, as rows and columns, and what is known of a run at a glance."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from poseconform.report.data.vocabulary import (
    BACKENDS,
    FAMILIES,
    NOT_RUN,
    OUTCOMES,
    PRECISIONS,
    SHAPES,
    detail_of,
    failed,
    in_order,
    kind_of,
    ran,
    severity,
)
from poseconform.report.text.strings import plural
from poseconform.results.outcome import CellRecord


@dataclass(frozen=True)
class Column:
    """One flow of the matrix.

    Attributes:
        backend: Backend name.
        precision: `fp32`, `fp16`, `bf16` or `int8`.
        shape_mode: `static` or `dynamic`.
        variant: What the deploy config does otherwise than others of its kind, and exporter and
            implementation where they are not the usual ones; mostly empty.
    """

    backend: str
    precision: str
    shape_mode: str
    variant: str = ""

    @property
    def label(self) -> str:
        """`onnxruntime fp32 dynamic`, and the variant."""
        parts = (self.backend, self.precision, self.shape_mode, self.variant)
        return " ".join(part for part in parts if part)


@dataclass(frozen=True)
class Row:
    """One model: for each column the cells at that place (several deploy configs are rare)."""

    family: str
    model: str
    places: tuple[tuple[CellRecord, ...], ...]


@dataclass(frozen=True)
class Grid:
    """The matrix; rows are grouped by family, columns by backend."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Verdict:
    """What a run came to, in words.

    Attributes:
        group: `bad`, `warn`, `good` or `none`.
        headline: One sentence.
        details: Further sentences, none of which changes the first.
    """

    group: str
    headline: str
    details: tuple[str, ...]


def grid_of(cells: Sequence[CellRecord]) -> Grid:
    """Rows and columns of `cells`, in the order of the support table."""
    usual = (
        _most_common(c.exporter for c in cells),
        _most_common(c.implementation for c in cells),
    )
    places: dict[tuple[str, str], dict[Column, list[CellRecord]]] = {}
    for cell in cells:
        row = places.setdefault((cell.family, cell.model), {})
        row.setdefault(column_of(cell, usual), []).append(cell)
    columns = sorted({column for row in places.values() for column in row}, key=_column_key(cells))
    families = in_order((cell.family for cell in cells), FAMILIES)
    order = sorted(places, key=lambda key: (families.index(key[0]), key[1]))
    rows = tuple(
        Row(family, model, tuple(tuple(places[family, model].get(c, ())) for c in columns))
        for family, model in order
    )
    return Grid(tuple(columns), rows)


def column_of(cell: CellRecord, usual: tuple[str, str]) -> Column:
    """The column of `cell`, when `usual` are the most common exporter and implementation."""
    own = (cell.exporter, cell.implementation)
    unusual = [name for name, common in zip(own, usual, strict=True) if name not in {"", common}]
    words = " ".join((*_options_of(cell), *unusual))
    return Column(cell.backend, cell.precision, cell.shape_mode, words)


def _options_of(cell: CellRecord) -> list[str]:
    """What a deploy config's name says beside backend and precision: `f16` of `…-fp16-f16_…`."""
    found = re.search(rf"(?:^|_){re.escape(cell.backend)}((?:-[a-z0-9]+)+)_", cell.deploy_config)
    return [word for word in found[1].split("-")[1:] if word not in PRECISIONS] if found else []


def counts(cells: Iterable[CellRecord]) -> dict[str, int]:
    """Cells by kind of outcome, in the order of severity, kinds that do not occur left out."""
    found = Counter(kind_of(cell.outcome) for cell in cells)
    return {look.kind: found[look.kind] for look in OUTCOMES if found[look.kind]}


def verdict_of(cells: Sequence[CellRecord]) -> Verdict:
    """The verdict on `cells`."""
    found = counts(cells)
    judged = sum(ran(cell) for cell in cells)
    bad = sum(failed(cell) for cell in cells)
    details = [
        f"{plural(found[kind], 'cell')} {words}"
        for kind, words in _DETAILS
        if found.get(kind) and not (kind == "missing" and not bad)
    ]
    converted = _converted(cells)
    details += [converted] if converted else []
    split = sum(disagreeing(cell) for cell in cells)
    if split:
        details.insert(0, f"On {plural(split, 'cell')} the runners disagree.")
    if bad:
        kinds = ", ".join(_failures(cells))
        verb = "fails" if bad == 1 else "fail"
        return Verdict(
            "bad", f"{bad} of {plural(judged, 'cell')} {verb}: {kinds}.", tuple(details)
        )
    if found.get("missing"):
        missing = plural(found["missing"], "cell")
        return Verdict("warn", f"{missing} should have run and did not report.", tuple(details))
    if not judged:
        nothing = "No backend ran." if converted else "Nothing ran."
        headline = nothing if cells else "There are no cells."
        return Verdict("none", headline, tuple(details))
    passed = found.get("pass", 0)
    all_of_them = (
        "The one cell that ran matches PyTorch."
        if passed == 1
        else f"All {passed} cells that ran match PyTorch."
    )
    headline = (
        all_of_them
        if passed == judged
        else f"{passed} of {plural(judged, 'cell')} match PyTorch, the others fail as declared."
    )
    return Verdict("good", headline, tuple(details))


def idle_columns(grid: Grid) -> frozenset[str]:
    """Labels of the flows of which no cell was selected, if others were."""
    idle = {
        column.label
        for index, column in enumerate(grid.columns)
        if all(kind_of(c.outcome) == "not-selected" for r in grid.rows for c in r.places[index])
    }
    return frozenset(idle if len(idle) < len(grid.columns) else ())


def disagreeing(cell: CellRecord) -> bool:
    """True if several runners ran the cell and it did not come to the same on all of them."""
    outcomes = {s.outcome for s in cell.sources if kind_of(s.outcome) not in NOT_RUN}
    return len(outcomes) > 1


def lone_failures(cells: Sequence[CellRecord]) -> frozenset[str]:
    """Ids of the failing cells whose model fails on one backend only, and passes on another."""
    failing: dict[str, set[str]] = {}
    passing: dict[str, set[str]] = {}
    for cell in cells:
        if failed(cell):
            failing.setdefault(cell.model, set()).add(cell.backend)
        elif ran(cell):
            passing.setdefault(cell.model, set()).add(cell.backend)
    return frozenset(
        cell.cell_id
        for cell in cells
        if failed(cell)
        and len(failing[cell.model]) == 1
        and passing.get(cell.model, set()) - failing[cell.model]
    )


def _converted(cells: Sequence[CellRecord]) -> str:
    """What was done for cells whose backend could not run, if anything was."""
    idle = [cell for cell in cells if not ran(cell)]
    evaluated = [cell for cell in idle if "evaluator" in cell.effective_options]
    made = [c for c in idle if any(s.name == "convert" and s.outcome == "pass" for s in c.stages)]
    done = len({cell.cell_id for cell in (*evaluated, *made)})
    if not done:
        return ""
    judged = f"; files evaluated by the judge itself: {len(evaluated)}" if evaluated else ""
    return f"Converted without the backend: {plural(done, 'cell')}{judged}."


_FAILURES = {
    "crash": "crash",
    "timeout": "timeout",
    "mismatch": "mismatch",
    "xpass": "unexpected pass",
}


def _failures(cells: Sequence[CellRecord]) -> Iterable[str]:
    """`2 mismatch`, `1 failed in load`: failing cells by outcome, the worst first."""
    found = Counter(cell.outcome for cell in cells if failed(cell))
    for outcome in sorted(found, key=lambda o: (severity(o), o)):
        stage = detail_of(outcome)
        words = f"failed in {stage}" if stage else _FAILURES[kind_of(outcome)]
        yield f"{found[outcome]} {words}"


_DETAILS = (
    ("missing", "should have run and did not report."),
    ("xfail", "failed as declared."),
    ("unavailable", "could not run here: the backend is unavailable."),
    ("not-selected", "not selected."),
)


def _most_common(values: Iterable[str]) -> str:
    found = Counter(value for value in values if value)
    return min(found, key=lambda value: (-found[value], value), default="")


def _column_key(cells: Sequence[CellRecord]) -> Callable[[Column], tuple[int, str, int, int]]:
    backends = in_order((c.backend for c in cells), tuple(name for name, _ in BACKENDS))
    precisions = in_order((c.precision for c in cells), PRECISIONS)
    return lambda column: (
        backends.index(column.backend),
        column.variant,
        precisions.index(column.precision),
        SHAPES.index(column.shape_mode),
    )
