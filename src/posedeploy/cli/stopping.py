"""Signals that are to end a command: it leaves its blocks, which remove what is half-written."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable

PATIENCE = 5.0  # seconds in which a further signal does not cut short what the first began


class Stopping:
    """A handler of signals that exits with 128 and the signal's number, as a shell names it.

    Native code and destructors can swallow an exception that is raised while they run, so
    `check` raises it again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._code = 0
        self._since = 0.0

    def __call__(self, signum: int, frame: object) -> None:
        """Exit on the first signal, and on one that comes when that has had time to work."""
        del frame
        now = self._clock()
        if self._code and now - self._since < PATIENCE:
            return
        self._code, self._since = 128 + signum, now
        _leave_closed_terminal()
        raise SystemExit(self._code)

    def check(self) -> None:
        """Exit if a signal has come."""
        if self._code:
            raise SystemExit(self._code)


stopping = Stopping()


def _leave_closed_terminal() -> None:
    """Write to nowhere what was to be written to a terminal that is no more."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            # a character device that is no terminal: it was one, or is the null device
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
