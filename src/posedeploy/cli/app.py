"""The application, and how an error becomes a message and an exit code.

Exit codes: 0 fine, 1 the result is bad, 2 bad input, 3 unavailable here, 4 nothing to compare,
70 an error of this program's own, 130 interrupted; 128 and its number for another signal.
"""

from __future__ import annotations

import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from pathlib import Path

import typer

from posedeploy import __version__
from posedeploy.cli import STOP_CODES, STOPPED
from posedeploy.cli.commands import PASSING_ON, Commands
from posedeploy.cli.internal import INTERNAL, internal_line, write_log
from posedeploy.cli.terminal import console, one_line
from posedeploy.compat import StandInUsedError
from posedeploy.errors import PoseDeployError, UnavailableError, storage_error
from posedeploy.paths import CACHE_VARIABLE, cache_dir
from posedeploy.workflow import for_log

# Packages of the extra `convert` and of mmpose, by the names they are imported by.
CONVERTING = {
    "addict", "filelock", "matplotlib", "mmcv", "mmengine", "mmpose", "onnx", "onnx_ir",
    "onnxscript", "scipy", "torch", "yaml",
}  # fmt: skip

DEBUG = "--debug"

app = typer.Typer(
    name="posedeploy",
    cls=Commands,
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
    debug: bool = typer.Option(
        False, DEBUG, help="Show the traceback of an error too; also after the command's name."
    ),
) -> None:
    """Deploy MMPose models to inference backends."""
    del version, debug  # `run` takes the second out of the arguments


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
    debug, rest = split_debug(words)
    try:
        application(args=rest, prog_name="posedeploy", standalone_mode=True)
    except SystemExit as ended:
        if ended.code in STOP_CODES:
            console(stderr=True).print(STOPPED, style="bold")
        raise
    except Exception as error:  # noqa: BLE001 - none leaves the command line as a traceback
        if debug:
            traceback.print_exception(error)
        if isinstance(error, OSError):
            drop_output()
        known = known_error(error, rest)
        if known is None:
            line = internal_line(error, rest, write_log(error, words))
            console(stderr=True).print(one_line(line), style="bold red", soft_wrap=True)
            sys.exit(INTERNAL)
        show_error(known)
        sys.exit(known.exit_code)


def split_debug(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether `--debug` is among the arguments, and the other arguments.

    It may stand anywhere before `--`, and after the name of a command of `PASSING_ON` it is not
    ours.
    """
    ours = next((i for i, word in enumerate(words) if word in {"--", *PASSING_ON}), len(words))
    rest = [word for word in words[:ours] if word != DEBUG]
    return len(rest) < ours, [*rest, *words[ours:]]


def known_error(error: Exception, words: Sequence[str]) -> PoseDeployError | None:
    """The error for a person; None where it is a fault of this program's own."""
    command = " ".join(["posedeploy", *words[:1]])
    match error:
        case PoseDeployError():
            return with_command(error, words)
        case OSError():
            return storage_error(error, caches={cache_dir(): CACHE_VARIABLE})
        case ModuleNotFoundError():
            return missing_package(error, words)
        case MemoryError():
            return UnavailableError(
                command, "no memory left", "memory for what is read and computed",
                "Close other programs, or take smaller images or a smaller model.",
            )  # fmt: skip
        case StandInUsedError():
            return UnavailableError(
                command, str(error), "all packages that the model needs", "Install it."
            )
    return None


def with_command(error: PoseDeployError, words: Sequence[str]) -> PoseDeployError:
    """The error; where it names what to write for an argument, with the whole command line.

    `words` are the command line's, without the program.
    """
    if error.instead is not None:
        wrong, right = error.instead
        named = [Path(word).name.removesuffix(".py") == wrong for word in words]
        if any(named):
            again = [right if it else word for word, it in zip(words, named, strict=True)]
            command = shlex.join(["posedeploy", *again])
            error.next_step = f"{error.next_step.removesuffix(right)}{command}"
    return error


def drop_output() -> None:
    """Drop what standard output could not take, which Python would try again as it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w", encoding="utf-8") as sink:
            os.dup2(sink.fileno(), sys.stdout.fileno())


def missing_package(error: ModuleNotFoundError, words: Sequence[str]) -> UnavailableError | None:
    """The error for a package that an environment for running alone lacks; None for others."""
    from posedeploy.cli.setup import INSTALL_CONVERTING

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
