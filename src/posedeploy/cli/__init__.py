"""The command line: `posedeploy convert`, …; one module a command."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

__all__ = ["INTERRUPTED", "STOPPED", "STOP_CODES", "STOP_SIGNALS", "exiting_on_signals", "main"]

INTERRUPTED = 130  # what Typer exits with after Ctrl-C
STOPPED = "interrupted; nothing half-written was left behind"
# Besides Ctrl-C; Windows lacks the second, which a closed terminal sends.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)
)
STOP_CODES = frozenset({INTERRUPTED, *(128 + signum for signum in STOP_SIGNALS)})


def main(words: Sequence[str] | None = None) -> None:
    """Run the command `posedeploy` with these arguments, `sys.argv`'s by default, and exit.

    Importing the commands takes a second or so, and Ctrl-C may fall into it. A signal that is to
    end the process does so by `SystemExit`, so that what is half-written is removed; the exit
    code is then 128 and the number of the signal, as in a shell.
    """
    with exiting_on_signals():
        try:
            from posedeploy.cli.app import run
        except KeyboardInterrupt:
            print(STOPPED, file=sys.stderr)
            sys.exit(INTERRUPTED)
        run(sys.argv[1:] if words is None else words)


@contextmanager
def exiting_on_signals() -> Iterator[None]:
    """Exit on `STOP_SIGNALS`, apart from those that are ignored, as under `nohup`."""
    before = {s: signal.getsignal(s) for s in STOP_SIGNALS}
    handled = {s: old for s, old in before.items() if old is not signal.SIG_IGN}
    for signum in handled:
        signal.signal(signum, _exit)
    try:
        yield
    finally:
        for signum, old in handled.items():
            signal.signal(signum, old)


def _exit(signum: int, frame: object) -> NoReturn:
    """Leave all blocks; a second signal is not to cut that short."""
    del frame
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    _leave_closed_terminal()
    raise SystemExit(128 + signum)


def _leave_closed_terminal() -> None:
    """Write to nowhere what was to be written to a terminal that is no more."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            # a character device that is no terminal: it was one, or is the null device
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
