"""The command line: `posedeploy convert`, …; one module a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from posedeploy.cli.stopping import stopping
from posedeploy.signals import STOP_SIGNALS, handling_stop_signals

__all__ = ["INTERRUPTED", "STOPPED", "STOP_CODES", "main"]

INTERRUPTED = 130  # what Typer exits with after Ctrl-C
STOPPED = "interrupted; nothing half-written was left behind"
STOP_CODES = frozenset({INTERRUPTED, *(128 + signum for signum in STOP_SIGNALS)})


def main(words: Sequence[str] | None = None) -> None:
    """Run the command `posedeploy` with these arguments, `sys.argv`'s by default, and exit.

    Importing the commands takes a second or so, and Ctrl-C may fall into it. A signal that is to
    end the process does so by `SystemExit`, so that what is half-written is removed.
    """
    with handling_stop_signals(stopping):
        try:
            from posedeploy.cli.app import run
        except KeyboardInterrupt:
            print(STOPPED, file=sys.stderr)
            sys.exit(INTERRUPTED)
        run(sys.argv[1:] if words is None else words)
