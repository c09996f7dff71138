"""Signals that ask a process to end. Uses the standard library alone."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows lacks the second, which a closed terminal sends.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
_Handler = Callable[[int, FrameType | None], Any]


@contextmanager
def handling_stop_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Have `handler` called on `STOP_SIGNALS`, apart from those that are ignored, as under nohup.

    To be used in the main thread; the handlers of before are put back.
    """
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
    handled = {signum: old for signum, old in before.items() if old is not signal.SIG_IGN}
    for signum in handled:
        signal.signal(signum, handler)
    try:
        yield
    finally:
        for signum, old in handled.items():
            signal.signal(signum, old)


class Postponed:
    """What the handlers of signals have raised, kept until it can do no harm."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._raised: BaseException | None = None

    @property
    def came(self) -> bool:
        """Whether a signal has come that is to end the process."""
        return self._raised is not None

    def check(self) -> None:
        """Raise what is kept, if a signal has come."""
        if self._raised is not None:
            raise self._raised

    def call(self, handler: _Handler, signum: int, frame: FrameType | None) -> None:
        """Call a handler; keep what it raises first, and let through what it raises then."""
        try:
            handler(signum, frame)
        except (KeyboardInterrupt, SystemExit) as raised:
            if self._raised is not None:
                raise
            self._raised = raised
            self._wake()


@contextmanager
def postponing_signals(wake: Callable[[], None]) -> Iterator[Postponed]:
    """Let Ctrl-C and `STOP_SIGNALS` end the process when the block has ended.

    An exception that a signal raises between any two instructions can leave a lock taken, or
    released twice ("cannot release un-acquired lock", of `threading.Condition`), and half a line
    written. So `wake` ends what the block waits for; a second signal ends the block at once.
    In another thread than the main one no signal comes, and nothing is done.

    Args:
        wake: Called in the handler of the first signal, to end what the block waits for.

    Raises:
        KeyboardInterrupt: At the end of the block, as SystemExit: what the handlers have raised.
    """
    postponed = Postponed(wake)
    if threading.current_thread() is not threading.main_thread():
        yield postponed
        return
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, *STOP_SIGNALS)}
    handled = {signum: old for signum, old in before.items() if callable(old)}

    def handle(signum: int, frame: FrameType | None) -> None:
        postponed.call(handled[signum], signum, frame)

    for signum in handled:
        signal.signal(signum, handle)
    try:
        yield postponed
    finally:
        for signum, old in handled.items():
            signal.signal(signum, old)
        postponed.check()
