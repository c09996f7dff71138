"""What a cell came to: the vocabulary, the record, and how the parts of a cell become one.

Several tests see one cell (conversion, parity, SDK model); each contributes a partial
`CellRecord`.  `merge_partials` joins them.  Every field is joined by an operation that is
commutative, associative and idempotent, so neither the order of the tests nor the number of
xdist workers nor a record that arrives twice can change a result.

How the outcome of the whole is found, first row that applies:

| the parts hold | outcome | code and reason |
|---|---|---|
| an undeclared failing stage: the first of `STAGES` decides | see below | of the stage |
| a part that passed against its declaration | `xpass` | of the part |
| a declared failure | `xfail` | of the first declared stage, else of the part |
| a part that passed | `pass` | of the part |
| only skips with a code | `unavailable:<code>` | of the part, codes in alphabetical order |
| only parts that were left out | `not-selected` | of the part |
| nothing | `missing` | of the part |

| outcome of the deciding stage | numeric, keypoints, sdk | any other stage |
|---|---|---|
| `crash` | `crash` | `crash` |
| `timeout` | `timeout` | `timeout` |
| `failed` | `failed:<stage>` | `failed:<stage>` |
| `mismatch` | `mismatch` | `failed:<stage>` |

Two records of one stage: the more telling one is kept whole, in the order crash, timeout,
failed, mismatch, pass, skipped, undeclared before declared; then the one that took longer (a
cached stage takes no time).  A part that claims a failure but has no failing stage is given one:
`failed:<stage>` at its stage, `mismatch` at numeric, `crash` and `timeout` at the stage after the
last one that passed.  The declared reason of an xfail replaces its stage's message.  A part that
claims a pass and has a failing stage has failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from poseconform.results.cell import CellRecord
from poseconform.results.join import join_fields, strongest_stage
from poseconform.results.records import (
    FAILED,
    STAGE_FAILURES,
    STAGE_OUTCOMES,
    STAGES,
    UNAVAILABLE,
    AccuracyRecord,
    ArtifactRecord,
    DatasetRecord,
    GraphRecord,
    HistogramRecord,
    ImageRecord,
    LatencyRecord,
    LayersRecord,
    OutputRecord,
    PixelError,
    SourceRecord,
    StageRecord,
    check_outcome,
)

__all__ = [
    "COMPARING_STAGES",
    "FAILED",
    "STAGES",
    "STAGE_FAILURES",
    "STAGE_OUTCOMES",
    "UNAVAILABLE",
    "AccuracyRecord",
    "ArtifactRecord",
    "CellRecord",
    "DatasetRecord",
    "GraphRecord",
    "HistogramRecord",
    "ImageRecord",
    "LatencyRecord",
    "LayersRecord",
    "OutputRecord",
    "PixelError",
    "SourceRecord",
    "StageRecord",
    "check_outcome",
    "group_cells",
    "is_failure",
    "merge_partials",
    "tail",
]

COMPARING_STAGES = frozenset({"numeric", "keypoints", "sdk"})  # where numbers can disagree

# Of parts without an undeclared failure the last one in this list speaks for the cell.
_CLAIMS = ("missing", "not-selected", "unavailable", "pass", "xfail", "xpass")
_IDENTITY = ("model", "family", "backend", "precision", "shape_mode", "deploy_config")

LOG_LIMIT = 16_000  # characters: some 200 lines, enough for a traceback and the backend's say


def is_failure(outcome: str) -> bool:
    """True if `outcome` should turn a run red: a failure nobody declared, or an xpass."""
    return outcome in {"mismatch", "crash", "timeout", "xpass"} or outcome.startswith(FAILED)


def tail(text: str, limit: int = LOG_LIMIT) -> str:
    """The last `limit` characters of a log, from a line's start where there is one."""
    if len(text) <= limit:
        return text
    kept = text[-limit:]
    newline = kept.find("\n")
    kept = kept[newline + 1 :] if 0 <= newline < limit // 2 else kept
    return f"[{len(text) - len(kept)} earlier characters left out]\n{kept}"


def group_cells(partials: Iterable[CellRecord]) -> tuple[CellRecord, ...]:
    """All partial records of a run as whole cells, in the order of `cell_id`."""
    groups: dict[str, list[CellRecord]] = {}
    for partial in partials:
        groups.setdefault(partial.cell_id, []).append(partial)
    return tuple(merge_partials(groups[cell_id]) for cell_id in sorted(groups))


def merge_partials(partials: Iterable[CellRecord]) -> CellRecord:
    """The one record of a cell that several tests contributed to; see the module's table.

    Raises:
        ValueError: No record was given, or they are of different cells.
    """
    parts = [_canonical(part) for part in partials]
    if not parts:
        raise ValueError("merge_partials: found no record; expected at least one")
    whole = parts[0]
    for part in parts[1:]:
        _check_same_cell(whole, part)
        whole = _with_verdict(join_fields(whole, part), whole, part)
    return whole


def _check_same_cell(one: CellRecord, other: CellRecord) -> None:
    names = (*_IDENTITY, "implementation", "exporter")
    for name in names:
        found, expected = getattr(other, name), getattr(one, name)
        if found != expected:
            raise ValueError(
                f"merge_partials: {name}: found '{found}'; expected '{expected}' as in the other "
                f"records of {one.cell_id}"
            )


def _with_verdict(joined: CellRecord, one: CellRecord, other: CellRecord) -> CellRecord:
    stage = _deciding_stage(joined, expected=False)
    if stage is not None:
        return _decided_by(joined, stage)
    best = max(one, other, key=_claim)
    declared = _deciding_stage(joined, expected=True)
    if best.outcome == "xfail" and declared is not None:
        return replace(joined, outcome="xfail", code=declared.code, reason=declared.message)
    return replace(joined, outcome=best.outcome, code=best.code, reason=best.reason)


def _claim(part: CellRecord) -> tuple[int, str, str, str]:
    kind = part.outcome.split(":", maxsplit=1)[0]
    return (_CLAIMS.index(kind), part.outcome, part.code, part.reason)


def _deciding_stage(cell: CellRecord, *, expected: bool) -> StageRecord | None:
    failing = [s for s in cell.stages if s.failing and s.expected is expected]
    return min(failing, key=lambda s: STAGES.index(s.name), default=None)


def _decided_by(cell: CellRecord, stage: StageRecord) -> CellRecord:
    outcome = stage.outcome
    if outcome == "failed" or (outcome == "mismatch" and stage.name not in COMPARING_STAGES):
        outcome = f"{FAILED}{stage.name}"
    return replace(cell, outcome=outcome, code=stage.code, reason=stage.message)


def _canonical(part: CellRecord) -> CellRecord:
    """The same part, with its stages and its outcome saying one thing."""
    part = join_fields(part, part)  # sorts and removes duplicates
    if part.outcome == "xfail" or _has_only_declared_failures(part):
        return _declared(part)
    stage = _deciding_stage(part, expected=False)
    if stage is None and _claims_failure(part.outcome):
        stage = _invented_stage(part)
        part = replace(part, stages=strongest_stage((*part.stages, stage)))
    if stage is not None:
        filled = replace(stage, message=stage.message or part.reason, code=stage.code or part.code)
        return _decided_by(_with_stage(part, stage, filled), filled)
    if part.outcome.startswith(UNAVAILABLE):
        return replace(part, code=part.outcome.removeprefix(UNAVAILABLE))
    return part


def _claims_failure(outcome: str) -> bool:
    return is_failure(outcome) and outcome != "xpass"


def _has_only_declared_failures(part: CellRecord) -> bool:
    failing = [s for s in part.stages if s.failing]
    return part.outcome != "xpass" and bool(failing) and all(s.expected for s in failing)


def _declared(part: CellRecord) -> CellRecord:
    """Every failure of `part` declared; the declared reason says more than the stage's own."""
    stages = tuple(replace(s, expected=True) if s.failing else s for s in part.stages)
    part = replace(part, outcome="xfail", stages=stages)
    stage = _deciding_stage(part, expected=True)
    if stage is None:
        return part
    filled = replace(stage, message=part.reason or stage.message, code=part.code or stage.code)
    part = _with_stage(part, stage, filled)
    return replace(part, code=filled.code, reason=filled.message)


def _with_stage(part: CellRecord, old: StageRecord, new: StageRecord) -> CellRecord:
    return replace(part, stages=tuple(new if s is old else s for s in part.stages))


def _invented_stage(part: CellRecord) -> StageRecord:
    """A stage for a failure that names none; its words are those of the part."""
    if part.outcome.startswith(FAILED):
        name, outcome = part.outcome.removeprefix(FAILED), "failed"
    elif part.outcome == "mismatch":
        name, outcome = "numeric", "mismatch"
    else:
        passed = [STAGES.index(s.name) for s in part.stages if s.outcome == "pass"]
        after = max(passed, default=-1) + 1
        name, outcome = STAGES[min(after, len(STAGES) - 1)], part.outcome
    return StageRecord(name, 0.0, outcome)
