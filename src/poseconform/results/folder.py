"""A run on disk, so that a run that is killed leaves what it has done.

    run.json       what was selected, the command and the environment
    tests.json     node id -> cell, stage and model of a test
    cells/*.json   the record of each cell so far, written before and after every test

The folder is the report's, or a temporary one. A run that ends removes these files: by then
`results.json` has everything.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from poseconform.results.records import CONFIG, CellRecord, StageRecord, place_of
from poseconform.results.results import ReportError, Results, new_results
from posedeploy.paths import write_text

T = TypeVar("T")

RUN, TESTS, CELLS = "run.json", "tests.json", "cells"


@dataclass(frozen=True, config=CONFIG)
class CollectedTest:
    """What a test is about: its cell's id and stage, or '', and its model, or ''."""

    cell: str = ""
    stage: str = ""
    model: str = ""


@dataclass(frozen=True, config=CONFIG)
class RunRecord:
    """A run when it began, with `environment` and `run` of its `Results`."""

    environment: Mapping[str, Any]
    run: Mapping[str, Any]
    cells: tuple[CellRecord, ...]  # of the whole matrix: `missing` if selected, or `not-selected`


@dataclass(frozen=True, config=CONFIG)
class CellState:
    """A cell while its tests, which are named by their node ids, run."""

    record: CellRecord
    ended: tuple[str, ...] = ()
    running: str = ""  # the test that runs, or ran when its process died; '' between tests
    stage: str = ""  # which the running test judges
    unavailable: tuple[str, str] | None = None  # code and reason, where the backend cannot run

    def after_crash(self) -> CellState:
        """The same when the process of the running test has died: its stage has crashed."""
        return self.crashed_in(self.running, self.stage) if self.running else self

    def crashed_in(self, node_id: str, stage: str) -> CellState:
        """The same when the process that was to run this test of the stage has died."""
        crash = StageRecord(stage, 0.0, "crash", f"the process died in {node_id}")
        record = self.record.with_stage(crash).with_outcome()
        ended = tuple(sorted({*self.ended, node_id}))
        return replace(self, record=record, ended=ended, running="", stage="")


_RUN: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
_TESTS: TypeAdapter[dict[str, CollectedTest]] = TypeAdapter(dict[str, CollectedTest])
_STATE: TypeAdapter[CellState] = TypeAdapter(CellState)


class RunFolder:
    """Reads and writes the files of a run; a file that cannot be used raises a ReportError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def unfinished(self) -> bool:
        """True if a run has begun here and has not ended."""
        return (self.path / RUN).is_file()

    def clear(self) -> None:
        """Remove the files of an earlier run."""
        shutil.rmtree(self.path / CELLS, ignore_errors=True)
        for name in (RUN, TESTS):
            (self.path / name).unlink(missing_ok=True)

    def write_run(self, run: RunRecord) -> None:
        """Write what the run began with."""
        write_text(self.path / RUN, _RUN.dump_json(run).decode())

    def write_tests(self, tests: Mapping[str, CollectedTest]) -> None:
        """Write what each test is about, by node id; every worker writes the same."""
        write_text(self.path / TESTS, _TESTS.dump_json(dict(tests)).decode())

    def tests(self) -> dict[str, CollectedTest]:
        """What each test is about, by node id; nothing before the collection."""
        path = self.path / TESTS
        return _read(path, _TESTS) if path.is_file() else {}

    def write_cell(self, cell_id: str, state: CellState) -> None:
        """Write a cell's state; `cell_id` is the cell's name in test ids."""
        write_text(self._cell_path(cell_id), _STATE.dump_json(state).decode())

    def cell(self, cell_id: str) -> CellState | None:
        """A cell's state, if a test of it has begun."""
        path = self._cell_path(cell_id)
        return _read(path, _STATE) if path.is_file() else None

    def run(self) -> RunRecord:
        """What the run began with."""
        return _read(self.path / RUN, _RUN)

    def cells(
        self,
        run: RunRecord,
        *,
        interrupted: bool,
        crashed: Mapping[str, tuple[str, str]] = MappingProxyType({}),
    ) -> tuple[CellRecord, ...]:
        """The record of every cell of the matrix as it is on disk.

        Unless the run was `interrupted` from outside, a test that began and has no end has taken
        its process with it. `crashed` are further ones: record's id -> node id and stage of the
        test that a process was to run when it died.
        """
        records = {record.cell_id: record for record in run.cells}
        for path in sorted((self.path / CELLS).glob("*.json")):
            state = _read(path, _STATE)
            record = (state if interrupted else state.after_crash()).record
            records[record.cell_id] = record
        for cell_id, (node_id, stage) in crashed.items():
            if all(known.outcome != "crash" for known in records[cell_id].stages):
                records[cell_id] = CellState(records[cell_id]).crashed_in(node_id, stage).record
        return tuple(records.values())

    def finish(self) -> Results:
        """The results of a run that was killed, as far as it got."""
        run = self.run()
        cells = self.cells(run, interrupted=True)
        reason = "it was killed, or is still running"
        facts = {**run.run, **export_counts(cells), "interrupted": reason}
        return new_results(cells, environment=run.environment, run=facts)

    def _cell_path(self, cell_id: str) -> Path:
        return self.path / CELLS / f"{cell_id.replace('/', '_')}.json"


def export_counts(cells: Iterable[CellRecord]) -> dict[str, int]:
    """How many exports were made, and how many were in the cache."""
    seconds = [stage.seconds for c in cells for stage in c.stages if stage.name == "export"]
    made = sum(value > 0 for value in seconds)
    return {"exports": made, "cache_hits": len(seconds) - made}


def _read(path: Path, kind: TypeAdapter[T]) -> T:
    try:
        return kind.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        cause = place_of(error) if isinstance(error, ValidationError) else type(error).__name__
        raise ReportError(
            str(path), f"no file of a run ({cause})", "a file that a conformance run wrote",
            "Remove it and run again.",
        ) from error  # fmt: skip
