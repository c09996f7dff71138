"""`posedeploy report`: the judge's report command under the toolchain's name.

The toolchain does not import its judge, so the judge's own command line runs as a child process;
its options, its help and its exit codes are its own.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import typer

from posedeploy.errors import UnavailableError

MODULE = "poseconform.report"
NEEDS = (  # package, what it is, what to install
    ("poseconform", "the judge, of the same distribution", "--force-reinstall posedeploy"),
    ("jinja2", "what pages are made with", "'posedeploy[report]'"),
    ("jsonschema", "what results are checked with", "'posedeploy[report]'"),
)
# Everything after `report` belongs to the child, `--help` too.
CONTEXT = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def report(context: typer.Context) -> None:
    """Make, compare and merge reports: build, diff, merge, table, baseline."""
    raise typer.Exit(run_report(context.args))


def run_report(arguments: list[str]) -> int:
    """Run the report's command line in a child process that shares this one's streams.

    Args:
        arguments: Passed on as they are; none shows the help.

    Returns:
        The child's exit code; 128 plus the signal's number if a signal ended it, as a shell
        says it.

    Raises:
        UnavailableError: The judge, or what it makes reports with, is not installed.
    """
    for name, what, install in NEEDS:
        if importlib.util.find_spec(name) is None:
            next_step = f"Install it: pip install {install}."
            raise UnavailableError("posedeploy report", f"no package '{name}'", what, next_step)
    done = subprocess.run([sys.executable, "-m", MODULE, *arguments], check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode
