"""What a conversion is doing: one callback for the Python API, the command line and the judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class StageEvent:
    """A stage began, or ended after so many seconds; 'failed' with an exception.

    The stages are 'checkpoint', 'model', 'export', 'convert' and 'compare'.
    """

    stage: str
    state: Literal["started", "done", "failed"]
    seconds: float = 0.0


Progress = Callable[[StageEvent], None]  # called when a stage begins and when it ends


def silent(event: StageEvent) -> None:
    """Report nothing."""


@contextmanager
def at_stage(stage: str, progress: Progress) -> Iterator[None]:
    """Report the block as a stage.

    An exception that leaves the block carries the stage in its attribute `stage`, unless it has
    named one itself.
    """
    started = time.perf_counter()
    progress(StageEvent(stage, "started"))
    try:
        yield
    except BaseException as error:
        if not getattr(error, "stage", ""):
            vars(error)["stage"] = stage
        progress(StageEvent(stage, "failed", time.perf_counter() - started))
        raise
    progress(StageEvent(stage, "done", time.perf_counter() - started))
