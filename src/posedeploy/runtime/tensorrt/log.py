"""TensorRT's errors: its calls return None or False, and the reason is in its log alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorrt as trt

_SEVERITIES = ("INTERNAL_ERROR", "ERROR")


def collecting_logger() -> tuple[trt.ILogger, list[str]]:
    """This process's logger, and the list to which it appends every error; the list is emptied.

    There is one a process: while a builder, runtime or refitter lives, TensorRT logs to the logger
    of the first one and ignores those given later (`createInferRuntime` in its C++ API reference).
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
            if severity.name in _SEVERITIES:
                errors.append(msg.strip())

    return CollectingLogger(), errors


def as_text(errors: list[str]) -> str:
    """Everything that was logged, as one text."""
    return "; ".join(errors) or "it gave no reason"
