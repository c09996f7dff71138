"""Tests from the declared checks: one test per check and cell, named `test[check][cell]`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from poseconform.checks.declaration import Check, Verdict
from poseconform.checks.table import VERDICT_SUITES, applicable, require
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import Notes

MARKER = "checks(*names, suite=''): the test runs these checks, or all of a suite, on each cell"
_SUITES = (*VERDICT_SUITES, "accuracy")


def marks(names: Iterable[str]) -> list[pytest.MarkDecorator]:
    """Markers by their names."""
    return [getattr(pytest.mark, name) for name in names]


def parameters(
    metafunc: pytest.Metafunc, cells: Iterable[Cell], device_of: Callable[[Cell], str]
) -> Iterator[Any]:
    """(cell, check) for the checks of the `checks` marker that apply, marked with their stage."""
    (marker,) = metafunc.definition.iter_markers("checks")
    suite = marker.kwargs.get("suite", "")
    for cell in cells:
        for check in applicable(cell, device_of(cell), (suite,) if suite else _SUITES):
            if suite or check.name in marker.args:
                names = (*cell.marks, "anywhere") if check.anywhere else cell.marks
                # the cell comes last and in brackets of its own, as in tests of a cell alone
                yield pytest.param(
                    cell, check, id=f"{check.name}][{cell.id}",
                    marks=[pytest.mark.stage(check.stage), *marks(names)],
                )  # fmt: skip


def perform(check: Check, judge: Judge, cell: Cell, record: Notes) -> Verdict:
    """Run a check on a cell, record what it measured, and fail or skip the test by its verdict."""
    verdict = check(judge, cell)
    record.stages += verdict.stages
    record(**verdict.measured())
    if verdict.refusal:
        pytest.skip(f"refused:{verdict.refusal}")
    return require(verdict)


def perform_evaluating(check: Check, judge: Judge, cell: Cell, record: Notes) -> Verdict:
    """Run a check on what the judge itself computes from the cell's files.

    It is recorded where the backend cannot run; elsewhere the record holds the backend's numbers.
    """
    evaluating = judge.evaluating(cell)
    verdict = check(evaluating, cell)
    if record.unavailable:
        options = evaluating.execution(cell).loaded.effective_options
        record(effective_options=dict(options), **verdict.measured())
    return require(verdict)
