"""What TensorRT says, kept: its calls answer None or False, and the reason is in its log alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

_KEPT = ("INTERNAL_ERROR", "ERROR")


def collecting_logger() -> tuple[trt.ILogger, list[str]]:
    """A logger, and the list to which it adds every error in full; warnings are dropped.

    The logger must live as long as what was made with it: TensorRT does not keep it alive.
    """
    import tensorrt as trt

    errors: list[str] = []

    class CollectingLogger(trt.ILogger):  # type: ignore[misc]  # Any where it is absent
        """Called by TensorRT from any of its threads."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity.name in _KEPT:
                errors.append(msg.strip())

    return CollectingLogger(), errors


def said(errors: list[str]) -> str:
    """All that was logged, as one text."""
    return "; ".join(errors) or "it gave no reason"
