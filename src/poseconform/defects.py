"""Planted defects: what a suite is worth is what it catches, so somebody has to count.

A defect is planted on good evidence (a folder, a checkpoint, session options, outputs), and the
judge's ordinary checks run on it in their order, unchanged.  It counts as caught when the check
that is named in its row is the first to fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .checks import CHECKS
from .matrix import Cell
from .session import Judge
from .stages import Blocked, StageFailure

# (the judge of the good cell, the cell, a folder to write to) -> a judge of the defective one
Plant = Callable[[Judge, Cell, Path], Judge]
WHERE = (
    "graph", "weights", "checkpoint", "JSON", "pre-processing", "post-processing", "files",
    "runtime option", "outputs",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Which good cells a defect is planted in.

    Attributes:
        models: Names of models.
        backend: Of the flow.
        precision: Of the flow.
        shape_mode: 'static' or 'dynamic'.
    """

    models: tuple[str, ...]
    backend: str = "onnxruntime"
    precision: str = "fp32"
    shape_mode: str = "dynamic"

    def holds(self, cell: Cell) -> bool:
        """True if the defect is planted in this cell."""
        flow = cell.flow
        found = (flow.backend, flow.precision, flow.shape_mode)
        return cell.model.name in self.models and found == (
            self.backend, self.precision, self.shape_mode
        )  # fmt: skip


@dataclass(frozen=True)
class Defect:
    """One row of the table.

    Attributes:
        name: What is wrong.
        simulates: Where it comes from in real life.
        where: Where it is planted, one of `WHERE`.
        caught_by: The check that must be the first to fail; '' if none can.
        site: The good cells.
        plant: How.
        link: Public issue that reported it, '' if there is none.
        missed: Why no check fails: the row stays in the table and counts as planted.
    """

    name: str
    simulates: str
    where: str
    caught_by: str
    site: Site
    plant: Plant
    link: str = ""
    missed: str = ""


@dataclass(frozen=True)
class Catch:
    """The first check that failed, and what it said."""

    check: str
    says: str


def applicable(cell: Cell) -> tuple[str, ...]:
    """Names of the checks that the suites run on a cell, in the judge's order."""
    unfit = set() if cell.model.bottom_up else {"padding"}
    unfit |= {"batches"} if cell.flow.shape_mode == "static" else set()
    return tuple(name for name in CHECKS if name not in unfit)


def first_failure(judge: Judge, cell: Cell) -> Catch | None:
    """The first check that fails on a cell; None if all pass."""
    for name in applicable(cell):
        if says := complaint(judge, cell, name):
            return Catch(name, says)
    return None


def complaint(judge: Judge, cell: Cell, name: str) -> str:
    """What one check says against a cell, '' if it passes."""
    try:
        return "; ".join(CHECKS[name][1](judge, cell).complaints)
    except (StageFailure, Blocked) as failure:
        return str(failure).splitlines()[0]


@dataclass(frozen=True)
class Trial:
    """One defect planted in one cell, as a test reports it.

    Attributes:
        defect: Name of the defect.
        where: Where it was planted.
        cell: Id of the cell, '' if the test does not say.
        check: The check that had to catch it.
        link: Public issue, '' if there is none.
        ratio: For what lies under the detection limit: error over the allowed error.
    """

    defect: str
    where: str = ""
    cell: str = ""
    check: str = ""
    link: str = ""
    ratio: float | None = None

    def to_text(self) -> str:
        """As the value of a test's property."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Trial:
        """What `to_text` wrote, or the bare name of a defect."""
        return cls(**json.loads(text)) if text.startswith("{") else cls(text)


@dataclass
class Score:
    """What was planted in a run, and what was caught."""

    trials: dict[Trial, bool] = field(default_factory=dict)
    undetectable: dict[Trial, bool] = field(default_factory=dict)

    def add(self, trial: Trial, *, passed: bool) -> None:
        """A test has ended."""
        kind = self.trials if trial.ratio is None else self.undetectable
        kind[trial] = passed

    def rows(self) -> list[dict[str, Any]]:
        """One row a defect: caught if it was caught in every cell it was planted in."""
        rows: dict[str, dict[str, Any]] = {}
        for trial, passed in self.trials.items():
            row = rows.setdefault(
                trial.defect,
                {"name": trial.defect, "where": trial.where, "check": trial.check,
                 "link": trial.link, "cells": [], "caught": True},
            )  # fmt: skip
            row["cells"] += [trial.cell] if trial.cell else []
            row["caught"] = row["caught"] and passed
        return list(rows.values())

    def facts(self) -> dict[str, Any]:
        """For the run's facts in `results.json`; nothing if no defect was planted."""
        rows = self.rows()
        if not rows:
            return {}
        limits = [{"name": t.defect, "cell": t.cell, "ratio": t.ratio} for t in self.undetectable]
        counts = {"caught": sum(row["caught"] for row in rows), "total": len(rows)}
        return {"planted_defects": {**counts, "rows": rows, "not_detectable": limits}}


def summary_lines(planted: Mapping[str, Any]) -> Iterable[str]:
    """The score, and what slipped through.

    Args:
        planted: `planted_defects` of a run's facts.
    """
    yield f"planted defects: {planted['caught']} of {planted['total']} caught"
    for row in planted.get("rows", ()):
        if not row["caught"]:
            yield f"  not caught: {row['name']} ({', '.join(row['cells'])})"
    for row in planted.get("not_detectable", ()):
        yield (
            f"  not detectable: {row['name']} ({row['cell']}): "
            f"{row['ratio']:.2g} of the allowed error"
        )
