"""What changed between two runs, cell by cell.

Changes of outcome:

| then | now | change |
|---|---|---|
| not failing, or not there | failing | `newly-failing` |
| failing | not failing, and ran | `newly-passing` |
| failing | failing | `still-failing` |
| ran | unavailable, or not there | `missing` |
| not missing | missing | `missing` |
| not there | ran, not failing | `new` |
| anything else | | none |

A cell that the selection of the run leaves out (`not-selected`) is no change.

Two runs that judged different subjects have no cell in common: `counterparts` pairs theirs first,
by model and deploy config, or by model and flow. What only one of them has is left out, and told.

`THRESHOLDS` decides which changes of numbers are reported, and which are regressions.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from poseconform.report.data.fingerprint import differences, same_machine
from poseconform.report.data.vocabulary import failed, kind_of, ran, words_of
from poseconform.report.text.strings import headroom, number, pixels, plural, size
from poseconform.results.records import CellRecord
from poseconform.results.results import Results

CHANGES: tuple[tuple[str, str], ...] = (  # in the order of interest, with the words for a person
    ("newly-failing", "newly failing"),
    ("missing", "no longer run"),
    ("still-failing", "still failing"),
    ("newly-passing", "newly passing"),
    ("new", "new"),
)


@dataclass(frozen=True)
class Threshold:
    """A number that grew by more than `factor` and to more than `minimum` is reported."""

    factor: float
    minimum: float
    regression: bool
    reason: str


THRESHOLDS: dict[str, Threshold] = {
    "headroom": Threshold(2.0, 0.2, True, "other kernels move it by tens of per cent"),
    "keypoint error": Threshold(2.0, 0.25, True, "a quarter of a pixel does not matter"),
    "latency": Threshold(1.25, 0.5, False, "a shared machine is that noisy"),
    "size": Threshold(1.05, 65_536, False, "a new version's metadata is smaller"),
}

REGRESSIONS = frozenset({"newly-failing", "missing"})  # of the changes of outcome


@dataclass(frozen=True)
class Finding:
    """One thing that changed in one cell, with the old and the new value in words."""

    kind: str  # one of `CHANGES`, a key of `THRESHOLDS`, `outcome`, `graph` or `checkpoint`
    cell: CellRecord  # as it is now, or as it was if it is gone
    before: str
    after: str
    regression: bool = False
    note: str = ""


@dataclass(frozen=True)
class Diff:
    """What changed between two runs, cell by cell."""

    findings: tuple[Finding, ...]
    environment: tuple[tuple[str, str, str], ...]  # name, old and new value of what differs
    timed: bool  # latencies could be compared
    compared: int  # cells that ran in both
    subjects: str = ""  # a sentence on two subjects that were compared; '' for one

    @property
    def regressions(self) -> tuple[Finding, ...]:
        """The findings that are regressions."""
        return tuple(f for f in self.findings if f.regression)

    def of(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(f for f in self.findings if f.kind == kind)


def diff_results(old: Results, new: Results) -> Diff:
    """What changed from `old` to `new`, or how the subject of `new` differs from that of `old`."""
    old, new, subjects = counterparts(old, new)
    before, after = old.by_id(), new.by_id()
    changed = changes(old, new)
    timed = same_machine(old.environment, new.environment)
    findings: list[Finding] = []
    compared = 0
    for name in sorted({**before, **after}):
        was, now = before.get(name), after.get(name)
        findings += _flips(changed.get(name, ""), was, now)
        if was is not None and now is not None and ran(was) and ran(now):
            compared += 1
            if now.outcome == "pass":  # a failure is reported as one
                findings += _numbers(was, now, timed=timed)
            findings += _graphs(was, now)
    environment = differences(old.environment, new.environment)
    return Diff(tuple(findings), environment, timed, compared, subjects)


def counterparts(old: Results, new: Results) -> tuple[Results, Results, str]:
    """Two runs so that their cells can be compared, and what was left out, as a sentence.

    Runs of one subject, or that share one, stay as they are.
    """
    subjects = [{cell.implementation for cell in results.cells} for results in (old, new)]
    if any(len(names) != 1 for names in subjects) or subjects[0] == subjects[1]:
        return old, new, ""
    (first,), (second,) = subjects
    judged = [[cell for cell in results.cells if ran(cell)] for results in (old, new)]
    pairs = [(_counterpart(cell, judged[0]), cell) for cell in judged[1]]
    found = [(was, now) for was, now in pairs if was is not None]
    left = len(judged[0]) - len({was.cell_id for was, _ in found}), len(pairs) - len(found)
    identity = ("deploy_config", "implementation", "exporter")
    renamed = (
        dataclasses.replace(was, **{name: getattr(now, name) for name in identity})
        for was, now in found
    )
    sentence = (
        f"{second} against {first}: {plural(len(found), 'cell')} of both; without a counterpart: "
        f"{left[0]} of {first}'s and {left[1]} of {second}'s."
    )
    return (
        dataclasses.replace(old, cells=tuple(renamed)),
        dataclasses.replace(new, cells=tuple(now for _, now in found)),
        sentence,
    )


def _counterpart(cell: CellRecord, others: Sequence[CellRecord]) -> CellRecord | None:
    """The same model with the same deploy config, or else the only one with the same flow."""
    flow = [c for c in others if (c.model, c.flow) == (cell.model, cell.flow)]
    config = [c for c in flow if c.deploy_config == cell.deploy_config]
    best = config or flow
    return best[0] if len(best) == 1 else None


def _flips(change: str, old: CellRecord | None, new: CellRecord | None) -> Iterator[Finding]:
    cell = new or old
    if cell is None or (not change and (old is None or new is None)):
        return
    was, now = (words_of(c.outcome) if c else "not there" for c in (old, new))
    if change or now not in {was, "not selected"}:
        note = new.reason if new else ""
        yield Finding(change or "outcome", cell, was, now, change in REGRESSIONS, note)


def _numbers(old: CellRecord, new: CellRecord, *, timed: bool) -> Iterator[Finding]:
    rows = [
        ("headroom", old.headroom, new.headroom, headroom),
        ("keypoint error", old.worst_px, new.worst_px, pixels),
        ("size", old.artifact_bytes, new.artifact_bytes, lambda value: size(value or 0)),
    ]
    if timed:
        rows.append(("latency", old.median_ms, new.median_ms, number))
    for what, was, now, show in rows:
        limit = THRESHOLDS[what]
        if grew(limit, was, now) and not (what == "latency" and _within_spread(old, new)):
            note = "" if not was or now is None else f"\N{MULTIPLICATION SIGN} {number(now / was)}"
            yield Finding(what, new, show(was), show(now), limit.regression, note)


def grew(limit: Threshold, old: float | None, new: float | None) -> bool:
    """True if a number grew beyond its threshold; one that became NaN has grown."""
    if new is None or old is None or math.isnan(old):
        return False
    return not new <= max(limit.factor * old, limit.minimum)


def _graphs(old: CellRecord, new: CellRecord) -> Iterator[Finding]:
    if old.checkpoint_sha256 and old.checkpoint_sha256 != new.checkpoint_sha256:
        was, now = old.checkpoint_sha256[:12], new.checkpoint_sha256[:12]
        yield Finding("checkpoint", new, was, now, note="numbers are of other weights")
    if old.graph is None or new.graph is None:
        return
    names = ("nodes", "opset", "ir")
    facts = [(name, getattr(old.graph, name), getattr(new.graph, name)) for name in names]
    was = ", ".join(f"{name} {value}" for name, value, other in facts if value != other)
    now = ", ".join(f"{name} {other}" for name, value, other in facts if value != other)
    deltas = Counter(new.graph.ops)
    deltas.subtract(old.graph.ops)
    ops = ", ".join(f"{name} {delta:+d}" for name, delta in sorted(deltas.items()) if delta)
    if was or ops:
        yield Finding("graph", new, was, now, note=ops)


def _within_spread(old: CellRecord, new: CellRecord) -> bool:
    """True if the medians differ by no more than both interquartile ranges together."""
    if old.latency_ms is None or new.latency_ms is None:
        return True
    spread = old.latency_ms.iqr + new.latency_ms.iqr
    return abs(new.latency_ms.median - old.latency_ms.median) <= spread


def changes(old: Results, new: Results) -> dict[str, str]:
    """Change by `cell_id`, of the cells of either that changed; see the module's table."""
    before, after = old.by_id(), new.by_id()
    changed = {name: _change(before.get(name), after.get(name)) for name in {**before, **after}}
    return {name: change for name, change in sorted(changed.items()) if change}


def change_counts(changed: Mapping[str, str]) -> tuple[tuple[str, str, int], ...]:
    """Change, words and number of cells, of all changes, in the order of interest."""
    values = list(changed.values())
    return tuple((change, words, values.count(change)) for change, words in CHANGES)


def _change(old: CellRecord | None, new: CellRecord | None) -> str:
    failed_before = old is not None and failed(old)
    if new is not None and failed(new):
        return "still-failing" if failed_before else "newly-failing"
    if new is not None and ran(new):
        return "newly-passing" if failed_before else "" if old is not None else "new"
    was, now = ("" if c is None else kind_of(c.outcome) for c in (old, new))
    lost = old is not None and ran(old) and now != "not-selected"
    return "missing" if lost or now == "missing" != was else ""
