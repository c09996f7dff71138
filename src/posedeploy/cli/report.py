"""`posedeploy report`: the judge's report command under the toolchain's name.

Its options, its help and its exit codes are its own.
"""

from __future__ import annotations

import typer

from posedeploy.cli.children import check_needs, run_module

MODULE = "poseconform.report"
NEEDS = (  # package, what it is, what to install
    ("poseconform", "the judge, of the same distribution", "--force-reinstall posedeploy"),
    ("jinja2", "what pages are made with", "'posedeploy[report]'"),
)


def report(context: typer.Context) -> None:
    """Make, compare and merge reports: build, diff, merge, table, baseline."""
    check_needs("posedeploy report", NEEDS)
    raise typer.Exit(run_module(MODULE, context.args, "posedeploy report"))
