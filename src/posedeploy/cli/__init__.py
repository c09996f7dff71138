"""The command line: `posedeploy convert`, …; one module a command."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

from posedeploy.cli.collection import without_collection
from posedeploy.cli.internal import INTERNAL, internal_line, write_log
from posedeploy.cli.stopping import stopping
from posedeploy.signals import STOP_SIGNALS, handling_stop_signals

__all__ = ["INTERRUPTED", "STOPPED", "STOP_CODES", "broken_import", "main"]

INTERRUPTED = 130  # what Typer exits with after Ctrl-C
UNAVAILABLE = 3  # as `errors.UnavailableError`
STOPPED = "interrupted; nothing half-written was left behind"
STOP_CODES = frozenset({INTERRUPTED, *(128 + signum for signum in STOP_SIGNALS)})


def main(words: Sequence[str] | None = None) -> None:
    """Run the command `posedeploy` with these arguments, `sys.argv`'s by default, and exit.

    Ctrl-C may fall into the imports. A signal that is to end the process does so by `SystemExit`,
    so that what is half-written is removed. Where an import fails, a message says so.
    """
    words = sys.argv[1:] if words is None else words
    atexit.register(gc.freeze)  # else Python searches all objects for cycles as it ends
    with handling_stop_signals(stopping):
        try:
            with without_collection():
                from posedeploy.cli.app import run
        except KeyboardInterrupt:
            print(STOPPED, file=sys.stderr)
            sys.exit(INTERRUPTED)
        except Exception as error:
            if "--debug" in words:
                raise
            log = write_log(error, words)
            print(_broken(error) or internal_line(error, words, log), file=sys.stderr)
            sys.exit(UNAVAILABLE if _broken(error) else INTERNAL)
        run(words)


def broken_import(error: ImportError) -> tuple[str, str, str, str]:
    """What an error on a failed import of posedeploy says: subject, found, expected, next step."""
    return (
        "posedeploy, which cannot be imported here",
        (str(error).splitlines() or [type(error).__name__])[0],
        "the packages that posedeploy needs, and the libraries of the system that they need",
        "Install it again: python -m pip install --force-reinstall posedeploy"
        " (libGL and libglib are OpenCV's: python -m pip install opencv-python-headless)",
    )


def _broken(error: Exception) -> str:
    """The lines for a package that cannot be imported here; '' for other errors."""
    if not isinstance(error, ImportError):
        return ""
    subject, found, expected, next_step = broken_import(error)
    lines = (
        f"error: {subject}", f"  found:    {found}", f"  expected: {expected}",
        f"  next:     {next_step}",
    )  # fmt: skip
    return "\n".join(lines)
