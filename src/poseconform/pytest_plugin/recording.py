"""What the tests of a cell measure goes into its record, which is on disk after every test."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from poseconform.expectations.entries import Declarations, Expectation
from poseconform.isolation.child import ChildFailure
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell
from poseconform.matrix.weights import USER
from poseconform.results.folder import CellState, CollectedTest, RunFolder
from poseconform.results.outcome import usual_failure
from poseconform.results.records import LOG_LIMIT, CellRecord, StageRecord, tail
from posedeploy.runtime import Availability

CELL = "poseconform_cell"  # attribute of a report of a cell's test: `{"id": ..., "outcome": ...}`
MESSAGES = "poseconform_messages"  # attribute of a report: what was logged during its test
XPASS = "unexpected pass"
MESSAGE_LIMIT = 1000  # characters; it is one line for a person


class Messages(logging.Handler):
    """Keeps what the judge logs until the report of a test takes it along, from workers too."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(printable(record.getMessage()))

    def move_to(self, report: pytest.TestReport) -> None:
        """Give the lines to a report."""
        if self._lines:
            setattr(report, MESSAGES, self._lines)
            self._lines = []


@dataclass
class Notes:
    """What a test has measured so far, for the record of its cell."""

    fields: dict[str, Any] = field(default_factory=dict)  # of `CellRecord`
    stages: list[StageRecord] = field(default_factory=list)  # that passed, besides the test's own
    unavailable: Availability | None = None  # why the backend cannot run here

    def __call__(self, **fields: Any) -> None:
        """Record fields of the cell."""
        self.fields.update(fields)


@dataclass(frozen=True)
class CellTest:
    """A test of a stage of a cell; `base` is the cell's record before anything was done."""

    node_id: str
    cell: Cell
    stage: str
    base: CellRecord


class Recorder:
    """Writes the records of the cells that this process judges, before and after every test.

    All tests of a cell run in one process, unless it dies; the process that takes over reads what
    is on disk. `tests` says by node id what each test of this run is about.
    """

    def __init__(
        self, folder: RunFolder, tests: Mapping[str, CollectedTest], declared: Declarations
    ) -> None:
        self._folder = folder
        self._declared = declared
        self._states: dict[str, CellState] = {}
        self._tests: dict[str, set[str]] = defaultdict(set)
        for node_id, test in tests.items():
            self._tests[test.cell].add(node_id)

    def start(self, test: CellTest) -> None:
        """A test begins; a `StageFailure` if a process of this run has died in it or after it."""
        state = self._state(test)
        ended_elsewhere = test.cell.id not in self._states and test.node_id in state.ended
        died = state.running == test.node_id or ended_elsewhere
        state = state if died else state.after_crash()
        self._write(test.cell, replace(state, running=test.node_id, stage=test.stage))
        if died:
            raise StageFailure(test.stage, "crash", "the process that ran this test died")

    def end(self, test: CellTest, notes: Notes, report: pytest.TestReport, error: object) -> None:
        """Append a test's result to the record of its cell, and change its report if needed.

        A failure that is declared becomes an xfail, as pytest writes one. The last test of a cell
        fails if a stage that is declared to fail has passed. `error` is what ended the test.
        """
        state = self._state(test)
        record = state.record.with_measurements(**notes.fields)
        for stage in notes.stages:
            record = record.with_stage(stage)
        result = stage_result(test.stage, report, error)
        if result is not None and result.failing:
            if report.when == "call" and report.failed:
                result = self._excused(test.cell, result, report)
            if not any(stage.failing and not stage.expected for stage in record.stages):
                record = replace(record, log_tail=tail(printable(report.longreprtext)))
        measured = {stage.name for stage in notes.stages}
        if result is not None and (result.failing or result.name not in measured):
            record = record.with_stage(result)
        ended = {*state.ended, test.node_id}
        left = self._tests[test.cell.id] - ended
        if not left and (unmet := self._declared.unmet(test.cell, record)):
            record = fail_unmet(unmet, report, record)
        unavailable = state.unavailable
        if notes.unavailable is not None:
            unavailable = (str(notes.unavailable.code), notes.unavailable.reason)
        unfinished = f"{len(ended)} of {len(ended | left)} tests have ended" if left else ""
        record = record.with_outcome(unavailable, unfinished)
        self._write(test.cell, CellState(record, tuple(sorted(ended)), "", "", unavailable))
        setattr(report, CELL, {"id": test.cell.id, "outcome": "" if left else record.outcome})

    def _state(self, test: CellTest) -> CellState:
        state = self._states.get(test.cell.id) or self._folder.cell(test.cell.id)
        return state or CellState(test.base)

    def _write(self, cell: Cell, state: CellState) -> None:
        self._states[cell.id] = state
        try:
            self._folder.write_cell(cell.id, state)
        except OSError as error:
            raise pytest.exit.Exception(
                f"{self._folder.path}: the record of {cell.id} could not be written: {error}. "
                "Free the disk and run again."
            ) from error

    def _excused(self, cell: Cell, failure: StageRecord, report: pytest.TestReport) -> StageRecord:
        entry = self._declared.excuse(cell, failure)
        if entry is None:
            return failure
        report.outcome, report.wasxfail = "skipped", entry.note
        return replace(failure, expected=True, message=printable(entry.note))


def base_record(cell: Cell, exporter: str, repro: str, subject: str) -> CellRecord:
    """The identity of a cell as a record."""
    model, flow = cell.model, cell.flow
    return CellRecord(
        model=printable(model.name), family=model.family, head=model.head or "heatmap",
        tiers=model.tiers,
        weights=USER if model.checkpoint else model.weights,
        backend=flow.backend, precision=flow.precision, shape_mode=flow.shape_mode,
        deploy_config=printable(flow.deploy_config), implementation=subject, exporter=exporter,
        folder=printable(flow.artifact), repro=repro,
    )  # fmt: skip


def stage_result(stage: str, report: pytest.TestReport, error: object) -> StageRecord | None:
    """The result of a test as that of its stage; None if it was skipped.

    pytest's own marks count: a test that fails under `xfail` failed as declared. One that passes
    under a strict mark is a failure without an exception: it passed against its declaration.
    """
    reason = printable(str(getattr(report, "wasxfail", "")))
    if report.passed:
        return StageRecord(stage, report.duration, message=reason, expected=bool(reason))
    if report.failed and error is None:
        message = brief(str(report.longrepr))
        return StageRecord(stage, report.duration, message=message, expected=True)
    if report.skipped and not hasattr(report, "wasxfail"):
        return None
    failed = failed_stage(stage, report.duration, error)
    if report.skipped:
        return replace(failed, expected=True, message=reason or failed.message)
    return failed


def failed_stage(stage: str, seconds: float, error: object) -> StageRecord:
    """How a test of a stage failed; the exception that ended it may name another stage.

    Only an assertion is a mismatch: after any other error in a stage that compares, nothing was
    compared.
    """
    if isinstance(error, ChildFailure):  # of a child that serves many cells
        error = StageFailure.from_child(stage, error)
    if isinstance(error, StageFailure):
        message = error.message.splitlines()[0] if error.message else error.kind
        return StageRecord(error.stage, seconds, error.kind, brief(message), error.code)
    compared = isinstance(error, AssertionError | pytest.fail.Exception)
    lines = str(error).strip().splitlines() or [type(error).__name__]
    kind = usual_failure(stage) if compared else "failed"
    return StageRecord(stage, seconds, kind, brief(lines[0]))


def fail_unmet(
    entries: Iterable[Expectation], report: pytest.TestReport, record: CellRecord
) -> CellRecord:
    """Fail a cell's last test because stages that are declared to fail have passed.

    A report that has failed anyway keeps its own message. The record gets marks on those stages.
    """
    notes = {e: f"{e.stage} passed: {e.note}, declared in {e.source}" for e in entries}
    note = "; ".join(notes.values())
    if report.failed:
        report.sections.append((XPASS, note))
    else:
        vars(report).pop("wasxfail", None)
        report.outcome, report.longrepr = "failed", f"{XPASS}: {note}"
    messages: dict[str, list[str]] = defaultdict(list)
    for entry, text in notes.items():
        messages[entry.stage].append(printable(text))
    stages = tuple(
        replace(stage, expected=True, message="; ".join(messages[stage.name]))
        if stage.name in messages
        else stage
        for stage in record.stages
    )
    return replace(record, stages=stages)


def shorten(report: pytest.TestReport) -> None:
    """Leave `LOG_LIMIT` characters of each text of a report, which JUnit holds twice."""
    if report.failed and len(report.longreprtext) > LOG_LIMIT:
        crash = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
        headline = brief(crash.partition("\n")[0])
        report.longrepr = f"{headline}\n{tail(report.longreprtext)}".lstrip("\n")
    report.sections = [(title, tail(text)) for title, text in report.sections]


def junit_properties(record: CellRecord, stage: str) -> list[tuple[str, object]]:
    """Properties of a test of a stage in the JUnit report; what was not measured is left out."""
    names = ("model", "family", "backend", "precision", "shape_mode", "deploy_config")
    error = record.keypoint_error_px or record.sdk_client_error_px
    properties = {name: getattr(record, name) for name in names} | {
        "stage": stage, "headroom": record.headroom, "repro": record.repro,
        "keypoint_error_px_max": error.max if error else None,
    }  # fmt: skip
    return [(name, value) for name, value in properties.items() if value not in {None, ""}]


def brief(text: str) -> str:
    """`text` printable, at most `MESSAGE_LIMIT` characters of it."""
    shown = printable(text[: MESSAGE_LIMIT + 1])
    return shown if len(shown) <= MESSAGE_LIMIT else f"{shown[: MESSAGE_LIMIT - 1]}…"


def printable(text: str) -> str:
    """`text` with what UTF-8 cannot hold (undecodable bytes of a log, of a name) as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
