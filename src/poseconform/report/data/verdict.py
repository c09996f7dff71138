"""The verdict on a run: one sentence, and what else there is to know at a glance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from poseconform.report.data.vocabulary import (
    NOT_RUN,
    OUTCOMES,
    detail_of,
    failed,
    kind_of,
    ran,
    severity,
)
from poseconform.report.text.strings import one_line, plural
from poseconform.results.records import CellRecord

OWN = "posedeploy"  # the default subject
_DETAILS = (
    ("missing", "should have run and did not report."),
    ("xfail", "failed as declared."),
    ("unavailable", "could not run here: the backend is unavailable."),
    ("not-selected", "not selected."),
)


@dataclass(frozen=True)
class Verdict:
    """The verdict on a run in one sentence, and further ones, none of which changes the first."""

    group: str  # `bad`, `warn`, `good` or `none`
    headline: str
    details: tuple[str, ...]


def counts(cells: Iterable[CellRecord]) -> dict[str, int]:
    """Cells by kind of outcome, in the order of severity, kinds that do not occur left out."""
    kinds = Counter(kind_of(cell.outcome) for cell in cells)
    return {look.kind: kinds[look.kind] for look in OUTCOMES if kinds[look.kind]}


def verdict_of(cells: Sequence[CellRecord], interrupted: str = "") -> Verdict:
    """The verdict on all `cells` of a run; `interrupted` is why it ended early, or ''."""
    kinds = counts(cells)
    judged = sum(ran(cell) for cell in cells)
    bad = sum(failed(cell) for cell in cells)
    passed = kinds.get("pass", 0)
    if bad:
        failures, verb = ", ".join(_failures(cells)), "fails" if bad == 1 else "fail"
        group, headline = "bad", f"{bad} of {plural(judged, 'cell')} {verb}: {failures}."
    elif missing := kinds.pop("missing", 0):
        group = "warn"
        headline = f"{plural(missing, 'cell')} should have run and did not report."
    elif not judged:
        nothing = "No backend ran." if _converted(cells) else "Nothing ran."
        group, headline = "none", nothing if cells else "There are no cells."
    elif passed < judged:
        others = "the others fail as declared."
        group, headline = "good", f"{passed} of {plural(judged, 'cell')} match PyTorch, {others}"
    elif passed == 1:
        group, headline = "good", "The one cell that ran matches PyTorch."
    else:
        group, headline = "good", f"All {passed} cells that ran match PyTorch."
    return Verdict(group, headline, tuple(_details(cells, kinds, interrupted)))


def bad_cells(cells: Iterable[CellRecord]) -> list[CellRecord]:
    """Failing and missing cells, the worst first."""
    bad = [c for c in cells if failed(c) or kind_of(c.outcome) == "missing"]
    return sorted(bad, key=lambda c: (severity(c.outcome), c.cell_id))


def interruption(interrupted: str) -> str:
    """The sentence on a run that ended early; '' for one that did not."""
    return f"The run was interrupted ({one_line(interrupted)})." if interrupted else ""


def _details(
    cells: Sequence[CellRecord], kinds: Mapping[str, int], interrupted: str
) -> Iterator[str]:
    if judged := _subjects(cells):
        yield judged
    if interrupted:
        yield interruption(interrupted)
    if split := sum(disagreeing(cell) for cell in cells):
        yield f"On {plural(split, 'cell')} the runners disagree."
    for kind, words in _DETAILS:
        if kind in kinds:
            yield f"{plural(kinds[kind], 'cell')} {words}"
    if converted := _converted(cells):
        yield converted
    if noted := sum(bool(cell.notes) for cell in cells):
        yield f"{plural(noted, 'cell')} with notes, which make no result wrong."


def _subjects(cells: Iterable[CellRecord]) -> str:
    """Whose work was judged, where it is not this project's alone."""
    names = sorted({cell.implementation for cell in cells})
    if not set(names) - {OWN}:
        return ""
    return f"Judged: {', '.join(one_line(name) for name in names)}."


def disagreeing(cell: CellRecord) -> bool:
    """True if several runners ran the cell with different outcomes."""
    outcomes = {s.outcome for s in cell.sources if kind_of(s.outcome) not in NOT_RUN}
    return len(outcomes) > 1


def lone_failures(cells: Sequence[CellRecord]) -> frozenset[str]:
    """Ids of the failing cells whose model fails on one backend only, and passes on another."""
    failing: dict[str, set[str]] = defaultdict(set)
    passing: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        if ran(cell):
            (failing if failed(cell) else passing)[cell.model].add(cell.backend)
    alone = {
        model for model in failing if len(failing[model]) == 1 and passing[model] - failing[model]
    }
    return frozenset(c.cell_id for c in cells if failed(c) and c.model in alone)


def _converted(cells: Sequence[CellRecord]) -> str:
    """What was done for cells whose backend could not run; '' if nothing was."""
    idle = [cell for cell in cells if not ran(cell)]
    evaluated = {c.cell_id for c in idle if "evaluator" in c.effective_options}
    done = evaluated | {
        cell.cell_id
        for cell in idle
        if any(stage.name == "convert" and not stage.failing for stage in cell.stages)
    }
    judged = f"; files evaluated by the judge itself: {len(evaluated)}" if evaluated else ""
    return f"Converted without the backend: {plural(len(done), 'cell')}{judged}." if done else ""


def _failures(cells: Sequence[CellRecord]) -> Iterator[str]:
    """`2 mismatch`, `1 failed in load`: failing cells by outcome, the worst first."""
    outcomes = Counter(cell.outcome for cell in cells if failed(cell))
    for outcome in sorted(outcomes, key=lambda o: (severity(o), o)):
        stage = detail_of(outcome)
        words = f"failed in {stage}" if stage else outcome.replace("xpass", "unexpected pass")
        yield f"{outcomes[outcome]} {words}"
