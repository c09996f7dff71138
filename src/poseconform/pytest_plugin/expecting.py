"""Declared failures during a run: which failure is excused, and which entry met none.

One tracker a pytest process.  All tests of a cell run in one process, so when the last of them
has ended it is known whether a stage that was declared to fail has passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from poseconform.expectations.entries import Expectation, this_system
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import XPASS, failed_stage
from poseconform.results.outcome import CellRecord, StageRecord


@dataclass
class _Progress:
    """What is known of one cell: tests to come, stages that passed and that failed."""

    left: int
    passed: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)


class Expected:
    """The declared failures of a run's cells.

    Args:
        entries: All entries.
        tests: Cell id -> number of its tests in this run.
        version_of: Backend -> its version here.
        system: `platform.system()`.
    """

    def __init__(
        self,
        entries: Iterable[Expectation],
        tests: Mapping[str, int],
        version_of: Callable[[str], str],
        system: str = "",
    ) -> None:
        self._entries = tuple(entries)
        self._cells = {cell_id: _Progress(count) for cell_id, count in tests.items()}
        self._version_of = version_of
        self._system = system or this_system()

    def excuse(self, cell: Cell, failure: StageRecord) -> Expectation | None:
        """The entry that declares this failure of this cell, if there is one."""
        return next((e for e in self._about(cell) if e.excuses(failure)), None)

    def excuse_report(
        self, cell: Cell, stage: str, report: pytest.TestReport, error: BaseException | None
    ) -> None:
        """Turn the report of a failure that is declared into an xfail, as pytest writes one.

        Args:
            cell: The cell.
            stage: The stage that the test judges.
            report: The report of the test's call, which failed.
            error: What ended it.
        """
        entry = self.excuse(cell, failed_stage(stage, report, error))
        if entry is not None:
            report.outcome, report.wasxfail = "skipped", entry.note

    def ended(self, cell: Cell, partial: CellRecord | None) -> tuple[Expectation, ...]:
        """A test of a cell has ended.

        Args:
            cell: Its cell.
            partial: What it says of it, None if nothing.

        Returns:
            After the cell's last test: the entries about it whose stage has passed.
        """
        known = self._cells[cell.id]
        known.left -= 1
        for stage in partial.stages if partial else ():
            if stage.failing:
                known.failed.add(stage.name)
            elif stage.outcome == "pass":
                known.passed.add(stage.name)
        if known.left:
            return ()
        passed = known.passed - known.failed
        return tuple(e for e in self._about(cell) if e.stage in passed)

    def _about(self, cell: Cell) -> list[Expectation]:
        """Entries that match a cell and whose conditions hold here."""
        return [
            e
            for e in self._entries
            if e.matches(cell)
            and e.holds(self._version_of(cell.flow.backend) if e.version else "", self._system)
        ]


def fail_report(
    entries: Iterable[Expectation], report: pytest.TestReport, partial: CellRecord
) -> CellRecord:
    """Fail a cell's last test because of entries whose stage has passed.

    Args:
        entries: What `Expected.ended` returned.
        report: The report of that test; one that has failed anyway keeps its own words.
        partial: What the test says of its cell.

    Returns:
        The same with the outcome that the report now has.
    """
    note = "; ".join(f"{e.stage} passed: {e.note}, declared in {e.source}" for e in entries)
    if report.failed:
        report.sections.append((XPASS, note))
        return partial
    vars(report).pop("wasxfail", None)
    report.outcome, report.longrepr = "failed", f"{XPASS} {note}"
    return replace(partial, outcome="xpass", reason=note)
