"""The command line: `posedeploy convert`, …; one module a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["INTERRUPTED", "STOPPED", "main"]

INTERRUPTED = 130  # what Typer exits with after Ctrl-C
STOPPED = "interrupted; nothing half-written was left behind"


def main(words: Sequence[str] | None = None) -> None:
    """Run the command `posedeploy` with these arguments, `sys.argv`'s by default, and exit.

    Importing the commands takes a second or so, and Ctrl-C may fall into it.
    """
    try:
        from posedeploy.cli.app import run
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(INTERRUPTED)
    run(sys.argv[1:] if words is None else words)
