"""What a check is: declared once, with the stage that it judges and the cells that it applies to.

Suites, their markers and the planted defects derive from the declarations. A check that cannot
fail for a cell does not apply to it, and is not collected for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.results import records


@dataclass(frozen=True)
class Verdict:
    """The result of a check, and what it measured: fields of the cell's record."""

    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what breaks a rule of ours and makes no result wrong
    refusal: str = ""  # '<code>: <reason>' where the evidence allows no verdict
    stages: tuple[records.StageRecord, ...] = ()  # those that passed, with the time they took
    accuracy: records.AccuracyRecord | None = None
    artifacts: tuple[records.ArtifactRecord, ...] = ()
    batches: tuple[int, ...] = ()
    benign_flips: int | None = None
    checkpoint_sha256: str | None = None
    dataset: records.DatasetRecord | None = None
    effective_options: Mapping[str, str] | None = None
    graph: records.GraphRecord | None = None
    headroom: float | None = None
    images: tuple[records.ImageRecord, ...] = ()
    keypoint_error_px: records.PixelError | None = None
    latency_ms: records.LatencyRecord | None = None
    layers: records.LayersRecord | None = None
    outputs: tuple[records.OutputRecord, ...] = ()
    sdk_client_error_px: records.PixelError | None = None
    stressed: tuple[records.StressRecord, ...] = ()

    def measured(self) -> dict[str, Any]:
        """The fields of the cell's record that were measured."""
        names = [f.name for f in fields(self) if f.name not in {"failures", "refusal", "stages"}]
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value not in (None, ())}


Function = Callable[[Judge, Cell], Verdict]
Applies = Callable[[Cell, str], bool]


@dataclass(frozen=True)
class Check:
    """One check; calling it asks the judge for evidence and judges it.

    An earlier stage that fails raises `StageFailure`. `applies` is True for a cell (and the device
    that it runs on) for which the check can fail.
    """

    name: str  # of its function; ids of tests and reports of planted defects show it
    stage: str
    suite: str  # folder of `suites/` that runs it
    function: Function
    applies: Applies
    anywhere: bool = False  # True if it needs the converted files only, and no backend that runs

    def __call__(self, judge: Judge, cell: Cell) -> Verdict:
        return self.function(judge, cell)


def check(
    *,
    stage: str,
    suite: str,
    applies: Applies = lambda _cell, _device: True,
    anywhere: bool = False,
) -> Callable[[Function], Check]:
    """Declare a function as a check; the arguments are the attributes of `Check`."""
    return lambda function: Check(function.__name__, stage, suite, function, applies, anywhere)


def declared_in(modules: Iterable[object]) -> Iterable[Check]:
    """The checks of modules, in the order of their declaration."""
    for module in modules:
        yield from (value for value in vars(module).values() if isinstance(value, Check))


def in_two_levels(
    judge: Judge, wrong: Iterable[str], house: Iterable[str], **measured: Any
) -> Verdict:
    """The verdict on a contract: what makes results wrong fails, whoever made the files.

    `house` breaks rules of this project's own files: failures for a subject that follows them,
    notes for others. `measured` are further fields of the verdict.
    """
    if getattr(judge.subject, "house_rules", False):
        return Verdict((*wrong, *house), **measured)
    return Verdict(tuple(wrong), notes=tuple(house), **measured)


def differences(compared: Iterable[tuple[str, object, object]]) -> tuple[str, ...]:
    """A failure for each (what, found, expected) that differs."""
    return tuple(
        f"{what}: found {found}; expected {expected}"
        for what, found, expected in compared
        if found != expected
    )


def with_sizes(declared: Sequence[int | str], expected: tuple[int, ...]) -> tuple[int | str, ...]:
    """Declared dimensions; those without a size may have any, and have the expected one."""
    if len(declared) != len(expected):
        return tuple(declared)
    pairs = zip(declared, expected, strict=True)
    return tuple(size if isinstance(name, str) else name for name, size in pairs)
