"""What an attempt may do, for the test of whether the drill tells what it was.

In a module of its own: each fault costs a new child process, which imports nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from suites.drill.harness import Attempt, Outcome, Result

ACTS: dict[Outcome, Callable[[], object]] = {
    Outcome.CRASH: os.abort,
    Outcome.HANG: lambda: time.sleep(60),
    Outcome.MEMORY: lambda: np.ones(2**29),
    Outcome.TRACEBACK: lambda: 1 / 0,
    Outcome.SAME: lambda: None,
}


def act(given: Attempt) -> Result:
    """An attempt that does one of `ACTS`."""
    outcome = list(ACTS)[given.index]
    given.note(f"kind {outcome}")
    ACTS[outcome]()
    return Result(Outcome.SAME, "kind same", f"{given.rng.random()}")
