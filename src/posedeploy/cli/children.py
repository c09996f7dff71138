"""Commands that run in a child process, because the toolchain must not import the judge."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from posedeploy.errors import UnavailableError

# All arguments after the command's name are the child's, `--help` too.
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
PROGRAM = "POSECONFORM_PROGRAM"  # environment variable with the name of the judge's command

Needs = Sequence[tuple[str, str, str]]  # package, what it is, arguments of pip install


def check_needs(command: str, needs: Needs) -> None:
    """Refuse a command whose packages are not installed.

    Raises:
        UnavailableError: With the first missing package and how to install it.
    """
    for name, what, install in needs:
        if importlib.util.find_spec(name) is None:
            next_step = f"Install it: python -m pip install {install}"
            raise UnavailableError(command, f"no package '{name}'", what, next_step)


def run_module(module: str, arguments: Sequence[str], program: str = "") -> int:
    """Run `python -m module` with this process's streams.

    The terminal sends Ctrl-C to the child as well. This process ignores it and waits, so that the
    child can finish what it writes, and returns the child's exit code.

    Args:
        module: The module.
        arguments: Its arguments.
        program: The program's name in the child's help; the child's own by default.

    Returns:
        The child's exit code; 128 plus the signal's number if a signal ended it, as in a shell.
    """
    # a handler, and not SIG_IGN, which the child would inherit
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        environment = {**os.environ, **({PROGRAM: program} if program else {})}
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments], env=environment
        ) as child:
            code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code
