"""The application, and how an error becomes a message and an exit code.

Exit codes: 0 fine, 1 the result is bad, 2 bad input, 3 unavailable here, 130 interrupted;
128 and its number for another signal.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr

import typer

from posedeploy import __version__
from posedeploy.cli import STOP_CODES, STOPPED
from posedeploy.cli.arguments import with_command
from posedeploy.cli.backends import backends
from posedeploy.cli.configs import configs
from posedeploy.cli.convert import convert
from posedeploy.cli.infer import infer
from posedeploy.cli.judge import CONTEXT, report, test
from posedeploy.cli.profile import profile
from posedeploy.cli.terminal import console, one_line
from posedeploy.cli.validate import validate
from posedeploy.cli.zoo import zoo
from posedeploy.errors import PoseDeployError, UnavailableError, storage_error
from posedeploy.paths import CACHE_VARIABLE, cache_dir
from posedeploy.workflow import for_log

# Packages of the extra `convert` and of mmpose, by the names they are imported by.
CONVERTING = {
    "addict", "filelock", "matplotlib", "mmcv", "mmengine", "mmpose", "onnx", "onnx_ir",
    "onnxscript", "scipy", "torch", "yaml",
}  # fmt: skip
INSTALL_CONVERTING = (
    "python -m pip install 'posedeploy[convert]' && python -m pip install --no-deps "
    "mmpose==1.3.2 mmengine==0.10.7 mmcv-lite==2.1.0"
)

app = typer.Typer(
    name="posedeploy",
    help="Deploy MMPose models to inference backends.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"posedeploy {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Deploy MMPose models to inference backends."""


DEPLOY, KNOW, JUDGE = "Deploy", "What there is", "Judge"

# ---- modify this list to add a command: the order is that of the help ----------------------
app.command(rich_help_panel=DEPLOY)(convert)
app.command(rich_help_panel=DEPLOY)(infer)
app.command(rich_help_panel=DEPLOY)(validate)
app.command(rich_help_panel=DEPLOY)(profile)
app.command(rich_help_panel=KNOW)(backends)
app.add_typer(zoo, name="zoo", rich_help_panel=KNOW)
app.add_typer(configs, name="configs", rich_help_panel=KNOW)
app.command(rich_help_panel=JUDGE, context_settings=CONTEXT)(test)
app.command(rich_help_panel=JUDGE, context_settings=CONTEXT)(report)
# --------------------------------------------------------------------------------------------


def run(words: Sequence[str], application: Callable[..., object] = app) -> None:
    """Run the command of these arguments (without the program's name), and exit.

    What standard output cannot encode is printed as an escape, which in JSON stands for the same:
    the bytes of file names need not be UTF-8. In a job of GitHub Actions nothing on standard error
    is a command; what is logged names files too.
    """
    with redirect_stderr(for_log(sys.stderr, os.environ)):
        _run(words, application)


def _run(words: Sequence[str], application: Callable[..., object]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        application(args=list(words), prog_name="posedeploy", standalone_mode=True)
    except PoseDeployError as error:
        show_error(with_command(error, words))
        sys.exit(error.exit_code)
    except OSError as error:
        refused = storage_error(error, caches={cache_dir(): CACHE_VARIABLE})
        if refused is None:
            raise
        drop_output()
        show_error(refused)
        sys.exit(refused.exit_code)
    except ModuleNotFoundError as error:
        missing = missing_package(error, words)
        if missing is None:
            raise
        show_error(missing)
        sys.exit(missing.exit_code)
    except SystemExit as ended:
        if ended.code in STOP_CODES:
            console(stderr=True).print(STOPPED, style="bold")
        raise


def drop_output() -> None:
    """Drop what standard output could not take, which Python would try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w", encoding="utf-8") as sink:
            os.dup2(sink.fileno(), sys.stdout.fileno())


def missing_package(error: ModuleNotFoundError, words: Sequence[str]) -> UnavailableError | None:
    """The error for a package that an environment for running alone lacks; None for others."""
    name = (error.name or "").partition(".")[0]
    if name not in CONVERTING:
        return None
    return UnavailableError(
        f"posedeploy {' '.join(words[:1])}", f"no package '{name}' in this environment",
        "an environment for converting: infer, validate, profile and backends need less",
        f"Run: {INSTALL_CONVERTING}",
    )  # fmt: skip


def show_error(error: PoseDeployError) -> None:
    """Print the four parts of an error, one per line."""
    out = console(stderr=True)
    out.print(f"[bold red]error:[/] {one_line(error.subject)}", soft_wrap=True)
    parts = (("found:", error.found), ("expected:", error.expected), ("next:", error.next_step))
    for label, text in parts:
        out.print(f"  {label:<10}{one_line(text)}", soft_wrap=True)
