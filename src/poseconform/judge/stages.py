"""How a stage of a cell fails, and how that blocks the stages after it."""

from __future__ import annotations

from poseconform.isolation.child import ChildFailure


class StageFailure(Exception):  # noqa: N818 - it is the failure, not an error of the judge
    """A stage of a cell failed.

    Attributes:
        stage: One of `outcome.STAGES`.
        kind: 'failed', 'crash' or 'timeout'.
        message: One line for a person.
        code: Signal name, or ''.
        log_tail: End of the child's log.
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
        code = failure.message.split()[0] if failure.kind == "crash" else ""
        return cls(stage, kind, failure.message, code, failure.log_tail)


class Blocked(Exception):  # noqa: N818 - not an error: an earlier stage has failed and said so
    """A stage that cannot be judged because an earlier one failed, which was reported there."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)
        self.stage, self.message = stage, message

    def __str__(self) -> str:
        return f"blocked: {self.stage} failed ({self.message.splitlines()[0]})"
