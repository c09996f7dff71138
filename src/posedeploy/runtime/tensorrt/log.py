"""What TensorRT says, kept: its calls answer None or False, and the reason is in its log alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

_KEPT = ("INTERNAL_ERROR", "ERROR")


def collecting_logger() -> tuple[trt.ILogger, list[str]]:
    """This process's logger, and the list to which it adds every error in full, now empty.

    There is one a process: while a builder, runtime or refitter lives, TensorRT writes what it
    says globally to the logger of the first, and of another one given later it only warns
    (`createInferRuntime` in its C++ API reference); a second list would stay empty.
    """
    import tensorrt as trt

    logger, errors = _logger_of(trt)
    errors.clear()
    return logger, errors


@cache
def _logger_of(_module: object) -> tuple[trt.ILogger, list[str]]:
    import tensorrt as trt

    errors: list[str] = []

    class CollectingLogger(trt.ILogger):  # type: ignore[misc]  # Any where it is absent
        """Called by TensorRT from any of its threads; warnings are dropped."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity.name in _KEPT:
                errors.append(msg.strip())

    return CollectingLogger(), errors


def said(errors: list[str]) -> str:
    """All that was logged, as one text."""
    return "; ".join(errors) or "it gave no reason"
