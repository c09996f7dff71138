"""Planted defects: they measure what the suites catch.

A defect is planted on good evidence (a folder, a checkpoint, session options, outputs), and the
checks that apply to the cell run on it in their order, unchanged. It counts as caught when the
check that is named in its row is the first to fail.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from poseconform.checks.declaration import Check
from poseconform.checks.table import applicable
from poseconform.judge.judge import Judge
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell

# (the judge of the good cell, the cell, a folder to write to) -> a judge of the defective one
Plant = Callable[[Judge, Cell, Path], Judge]
WHERE = (
    "graph", "weights", "checkpoint", "JSON", "pre-processing", "post-processing", "files",
    "runtime option", "outputs",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """Which good cells a defect is planted in: names of models, and the flow."""

    models: tuple[str, ...]
    backend: str = "onnxruntime"
    precision: str = "fp32"
    shape_mode: str = "dynamic"
    keypoints: bool = False  # whether the graph holds the decoding
    inference_precision: str = ""  # that the backend must have for an effect, in its own word

    def holds(self, cell: Cell) -> bool:
        """True if the defect is planted in this cell."""
        names = ("backend", "precision", "shape_mode")
        fits = cell.model.name in self.models and bool(cell.flow.keypoints) == self.keypoints
        return fits and all(getattr(cell.flow, name) == getattr(self, name) for name in names)


@dataclass(frozen=True)
class Defect:
    """One row of the table."""

    name: str  # what is wrong
    simulates: str  # where it comes from in real life
    where: str  # where it is planted, one of `WHERE`
    caught_by: str  # the check that must be the first to fail; '' if none can
    site: Site
    plant: Plant
    link: str = ""  # public issue that reported it
    missed: str = ""  # why no check fails: the row stays in the table and counts as planted


@dataclass(frozen=True)
class Catch:
    """The first check that failed; the message is its failures or the stage's failure."""

    check: str
    message: str


def first_failure(judge: Judge, cell: Cell, checks: Sequence[Check] | None = None) -> Catch | None:
    """The first of the checks that fails on a defective cell, of all that apply if None."""
    for check in applicable(cell, judge.device(cell)) if checks is None else checks:
        if message := failure_of(judge, cell, check):
            return Catch(check.name, message)
    return None


def failure_of(judge: Judge, cell: Cell, check: Check) -> str:
    """The failures of one check on a cell, '' if it passes."""
    try:
        return "; ".join(check(judge, cell).failures)
    except (StageFailure, Blocked) as failure:
        return str(failure).splitlines()[0]
