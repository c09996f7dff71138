"""Signals that ask a process to end, besides Ctrl-C. Uses the standard library alone."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Windows lacks the second, which a closed terminal sends.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)


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
