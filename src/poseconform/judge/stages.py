"""How a stage of a cell fails, and how that blocks the stages after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from poseconform.isolation.child import ChildFailure
from poseconform.results.records import StageRecord
from poseconform.subject.protocol import Conversion


class StageFailure(Exception):  # noqa: N818 - it is the failure, not an error of the judge
    """A stage of a cell failed; `kind` is 'failed', 'crash' or 'timeout'.

    `code` is the signal of a crash, or of a timeout what ran out: 'hang', 'cpu-time' or
    'wall-clock'.
    """

    def __init__(
        self, stage: str, kind: str, message: str, code: str = "", log_tail: str = ""
    ) -> None:
        super().__init__(stage, kind, message, code, log_tail)
        self.stage, self.kind, self.message = stage, kind, message
        self.code, self.log_tail = code, log_tail

    def __str__(self) -> str:
        tail = f"\n{self.log_tail}" if self.log_tail else ""
        return f"{self.kind} in {self.stage}: {self.message}{tail}"

    @classmethod
    def from_child(cls, stage: str, failure: ChildFailure) -> StageFailure:
        """The failure of a call in a child as the failure of a stage."""
        kind = "failed" if failure.kind == "error" else failure.kind
        code = failure.message.split()[0] if failure.kind == "crash" else failure.code
        return cls(stage, kind, failure.message, code, failure.log_tail)


class Unavailable(Exception):  # noqa: N818 - not an error: nothing was judged
    """A cell that the implementation cannot convert here, with an availability code."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(code, reason)
        self.code, self.reason = code, reason

    def __str__(self) -> str:
        return f"unavailable:{self.code}: {self.reason}"


class Blocked(Exception):  # noqa: N818 - not an error: an earlier stage has failed and is recorded
    """A stage that cannot be judged because an earlier one failed, which was reported there."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)
        self.stage, self.message = stage, message

    def __str__(self) -> str:
        return f"blocked: {self.stage} failed ({self.message.splitlines()[0]})"


@contextmanager
def failing_at(stage: str) -> Iterator[None]:
    """A failed call in a child within the block is a failure of the stage."""
    try:
        yield
    except ChildFailure as failure:
        raise StageFailure.from_child(stage, failure) from failure


def stage_records(conversion: Conversion) -> tuple[StageRecord, ...]:
    """Export and convert as stages; what was in the cache took no time."""
    steps = (("export", conversion.export), ("convert", conversion.convert))
    return tuple(
        StageRecord(name, float(facts["seconds"]) if facts["made"] else 0.0)
        for name, facts in steps
    )
