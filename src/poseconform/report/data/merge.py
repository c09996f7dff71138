"""Results of several runners (CPU, GPU, macOS) as one.

A cell that ran somewhere is shown as it ran; where several runners ran it, the worst result is
shown. The result of each runner stays in `sources`, and the report marks where they differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from poseconform.report.data.fingerprint import RUNNERS, runners_of
from poseconform.report.data.vocabulary import NOT_RUN, kind_of, severity
from poseconform.results.records import CELL_RECORD, CellRecord, SourceRecord, rank
from poseconform.results.results import ReportError, Results


def merge_results(parts: Mapping[str, Results]) -> Results:
    """One `Results` of the `parts` by the names of their runners, in any order."""
    if not parts:
        raise ReportError("merge", "no results", "at least one", "Name a results.json.")
    order = sorted(parts)
    names = Counter(n for r in order for n in runners_of(parts[r].environment) or (r,))
    for name, occurrences in names.items():
        if occurrences > 1:
            raise ReportError(
                "merge", f"the runner '{name}' twice", "runners with different names",
                "Give them names: NAME=path/to/results.json.",
            )  # fmt: skip
    cells: dict[str, list[tuple[str, CellRecord]]] = {}
    for runner in order:
        for cell in parts[runner].cells:
            cells.setdefault(cell.cell_id, []).append((runner, cell))
    return Results(
        created=max(parts[runner].created for runner in order),
        environment={RUNNERS: _facts({r: parts[r].environment for r in order})},
        run=_run({r: parts[r].run for r in order}),
        cells=tuple(_merged(cells[cell_id]) for cell_id in sorted(cells)),
    )


def _merged(cells: Sequence[tuple[str, CellRecord]]) -> CellRecord:
    shown = min((cell for _, cell in cells), key=_shown_first)
    sources = [  # a cell that was merged before has those of its runners
        source
        for runner, c in cells
        for source in c.sources or [SourceRecord(runner, c.outcome, c.reason, c.headroom)]
    ]
    return replace(shown, sources=tuple(sorted(sources, key=lambda s: s.runner)))


def _shown_first(cell: CellRecord) -> tuple[int, int, tuple[int, float], str]:
    kind = kind_of(cell.outcome)
    not_run = NOT_RUN.index(kind) + 1 if kind in NOT_RUN else 0
    level, value = rank(cell.headroom)
    # without its sources: a cell that was merged before must not win for having some
    text = CELL_RECORD.dump_json(replace(cell, sources=())).decode()
    return (not_run, severity(cell.outcome), (-level, -value), text)


def _facts(facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The facts of every runner by its name; those of a merge before are taken apart."""
    by_runner: dict[str, Any] = {}
    for runner, values in facts.items():
        by_runner |= runners_of(values) or {runner: values}
    return dict(sorted(by_runner.items()))


def _run(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {RUNNERS: _facts(runs)}
    reasons = {name: run.get("interrupted") for name, run in merged[RUNNERS].items()}
    if interrupted := "; ".join(f"{n}: {reason}" for n, reason in reasons.items() if reason):
        merged["interrupted"] = interrupted
    planted = [run.get("planted_defects") for run in merged[RUNNERS].values()]
    counted = [p for p in planted if isinstance(p, Mapping) and "total" in p]
    if counted:
        counts = {name: sum(int(p.get(name, 0)) for p in counted) for name in ("caught", "total")}
        lists = {
            name: [row for p in counted for row in p.get(name, ())]
            for name in ("rows", "not_detectable")
        }
        merged["planted_defects"] = counts | {name: rows for name, rows in lists.items() if rows}
    return merged
