"""Commands that run in a child process, because the toolchain does not import its judge."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from posedeploy.errors import UnavailableError

# Everything after the command's name belongs to the child, `--help` too.
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
PROGRAM = "POSECONFORM_PROGRAM"  # environment variable: what the judge's command is called

Needs = Sequence[tuple[str, str, str]]  # package, what it is, what to tell pip to install


def check_needs(
    command: str, needs: Needs, find: Callable[[str], object] = importlib.util.find_spec
) -> None:
    """Refuse a command whose packages are not installed.

    Args:
        command: The command.
        needs: What it needs.
        find: Gives None for a package that is not installed.

    Raises:
        UnavailableError: The first that is missing, and how to install it.
    """
    for name, what, install in needs:
        if find(name) is None:
            next_step = f"Install it: python -m pip install {install}"
            raise UnavailableError(command, f"no package '{name}'", what, next_step)


def run_module(module: str, arguments: Sequence[str], program: str = "") -> int:
    """Run `python -m module` with this process's streams.

    Ctrl-C reaches the child from the terminal; it is left to end in its own way, so that what it
    was writing is put away and its exit code is the one that counts.

    Args:
        module: What to run.
        arguments: Its arguments.
        program: What the child calls itself in its help; its own name by default.

    Returns:
        The child's exit code; 128 plus the signal's number if a signal ended it, as a shell
        says it.
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
