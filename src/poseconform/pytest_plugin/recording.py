"""From test reports to partial cell records, and from those to `results.json`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from poseconform.isolation.child import ChildFailure
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell
from poseconform.matrix.weights import USER
from poseconform.results.outcome import (
    COMPARING_STAGES,
    CellRecord,
    StageRecord,
    group_cells,
    tail,
)
from posedeploy.runtime import Availability

PROPERTY = "poseconform.cell"
XPASS = "[XPASS(strict)]"  # how pytest begins to report a test that passed against its mark
_CELL_ID = re.compile(r"\[(?P<id>[^\[\]]+)\]$")  # the last brackets: a check may stand before


@dataclass
class Notes:
    """What a test has measured so far, for the record of its cell.

    Attributes:
        fields: Fields of `CellRecord`.
        stages: Stages that are known to have passed, beside the test's own.
        unavailable: Why the backend cannot run here, in a test that does not need it to: the cell
            has then passed what can be asked here, and is no pass.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    stages: list[StageRecord] = field(default_factory=list)
    unavailable: Availability | None = None

    def __call__(self, **fields: Any) -> None:
        """Record fields of the cell."""
        self.fields.update(fields)


def base_record(cell: Cell, exporter: str, repro: str, subject: str) -> CellRecord:
    """The identity of a cell as a record."""
    return CellRecord(
        model=cell.model.name,
        family=cell.model.family,
        backend=cell.flow.backend,
        precision=cell.flow.precision,
        shape_mode=cell.flow.shape_mode,
        deploy_config=cell.flow.deploy_config,
        implementation=subject,
        exporter=exporter,
        tiers=cell.model.tiers,
        weights=USER if cell.model.checkpoint else cell.model.weights,
        repro=repro,
    )


def partial_record(
    base: CellRecord, stage: str, notes: Notes, report: pytest.TestReport, error: object
) -> CellRecord | None:
    """What one test says of its cell; None if it says nothing (it was blocked).

    Args:
        base: `base_record`.
        stage: The stage the test judges.
        notes: What it measured.
        report: pytest's report of the phase that decided.
        error: The exception that ended it, if any.
    """
    record = replace(base, **notes.fields)
    declared = hasattr(report, "wasxfail")
    unexpected = str(report.longrepr).startswith(XPASS)
    if report.passed or unexpected:
        outcome = "xpass" if declared or unexpected else "pass"
        reason = str(report.longrepr).removeprefix(XPASS).strip() if unexpected else ""
        known = {
            stage_record.name for stage_record in notes.stages
        }  # these know better than the clock
        own = () if stage in known else (StageRecord(stage, report.duration),)
        stages = (*notes.stages, *own)
        passed = replace(record, outcome=outcome, reason=reason, stages=stages)
        return _as_far_as_it_goes(passed, notes.unavailable) if outcome == "pass" else passed
    if report.skipped and not declared:
        code, reason = _unavailable(report)
        outcome = f"unavailable:{code}"
        return replace(record, outcome=outcome, code=code, reason=reason) if code else None
    failed = replace(failed_stage(stage, report, error), expected=declared)
    return replace(
        record,
        outcome="xfail" if declared else "missing",
        reason=(report.wasxfail if declared else "") or failed.message,
        stages=(*notes.stages, failed),
        log_tail=tail(report.longreprtext),
    )


def _as_far_as_it_goes(passed: CellRecord, unavailable: Availability | None) -> CellRecord:
    """A pass of what needs no backend, in a cell whose backend cannot run here."""
    if unavailable is None:
        return passed
    code = str(unavailable.code)
    outcome = f"unavailable:{code}"
    return replace(passed, outcome=outcome, code=code, reason=unavailable.reason)


def junit_properties(record: CellRecord, stage: str) -> list[tuple[str, object]]:
    """What a JUnit report should say of one test of a cell; what was not measured is left out."""
    error = record.keypoint_error_px or record.sdk_client_error_px
    found = {
        "model": record.model,
        "family": record.family,
        "backend": record.backend,
        "precision": record.precision,
        "shape_mode": record.shape_mode,
        "deploy_config": record.deploy_config,
        "stage": stage,
        "headroom": record.headroom,
        "keypoint_error_px_max": error.max if error else None,
        "repro": record.repro,
    }
    return [(name, value) for name, value in found.items() if value not in {None, ""}]


def failed_stage(stage: str, report: pytest.TestReport, error: object) -> StageRecord:
    """How a test of a cell failed.

    Only an assertion is a mismatch: whatever else goes wrong where numbers are compared, nothing
    was compared.

    Args:
        stage: The stage that the test judges; the failure may name another.
        report: pytest's report of the phase that decided.
        error: The exception that ended it, if any.
    """
    if isinstance(error, ChildFailure):  # of a child that serves no cell alone
        error = StageFailure.from_child(stage, error)
    if isinstance(error, StageFailure):
        message = error.message.splitlines()[0] if error.message else error.kind
        return StageRecord(error.stage, report.duration, error.kind, message, error.code)
    compared = isinstance(error, AssertionError | pytest.fail.Exception)
    kind = "mismatch" if compared and stage in COMPARING_STAGES else "failed"
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return StageRecord(stage, report.duration, kind, lines[0])


def skip_reason(report: pytest.TestReport) -> str:
    """The reason of a skip, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _unavailable(report: pytest.TestReport) -> tuple[str, str]:
    """Code and line of 'unavailable:<code>: <line>'; ('', '') for any other skip."""
    match = re.match(r"unavailable:([\w-]+): (.*)", skip_reason(report), re.DOTALL)
    return (match[1], match[2]) if match else ("", "")


def cell_id_of(node_id: str) -> str:
    """The cell's id in a test's node id, '' if it has none."""
    match = _CELL_ID.search(node_id)
    return match["id"] if match else ""


def complete(
    cells: Sequence[Cell],
    selected: Mapping[str, int],
    partials: Iterable[CellRecord],
    exporter: str,
    subject: str,
) -> tuple[CellRecord, ...]:
    """The record of every cell of the matrix: judged, missing, or not selected."""
    records = {record.cell_id: record for record in group_cells(partials)}
    for cell in cells:
        base = base_record(cell, exporter, "", subject)
        if base.cell_id not in records:
            outcome = "missing" if cell.id in selected else "not-selected"
            reason = "selected, but no result came back" if cell.id in selected else ""
            records[base.cell_id] = replace(base, outcome=outcome, reason=reason)
    return tuple(records.values())


def write_report(folder: Path, results: Any, baseline: Path | None = None) -> list[Path]:
    """Write `results.json` and everything that is made from it; the paths, page first.

    Args:
        folder: Made if it is not there.
        results: `report.results.Results`.
        baseline: Results that the page marks changes against.
    """
    from poseconform.report.build import build_report
    from poseconform.report.data.results import write_results

    path = write_results(folder / "results.json", results)
    made = build_report(path, folder, baseline_path=baseline)
    return [*(p for p in made if p != path), path]
