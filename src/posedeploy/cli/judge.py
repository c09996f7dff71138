"""`posedeploy test` and `posedeploy report`: the judge's commands, each in a child process.

A child, because the toolchain must not import the judge. Options, help and exit codes of `report`
are the judge's own.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import dropwhile, pairwise
from pathlib import Path

import typer

from posedeploy.cli.backends import PIP
from posedeploy.errors import BadInputError, UnavailableError, did_you_mean
from posedeploy.runtime import model_suffixes
from posedeploy.runtime.processes import ending_with_this
from posedeploy.sdk.folder import DEPLOY
from posedeploy.signals import handling_stop_signals

PROGRAM = "POSECONFORM_PROGRAM"  # environment variable with the name of the judge's command

Needs = Sequence[tuple[str, str, str]]  # package, what it is, command that installs it
JUDGE = ("poseconform", "the judge, of the same distribution",
         f"{PIP} --force-reinstall posedeploy")  # fmt: skip
REPORT_NEEDS: Needs = (
    JUDGE, ("jinja2", "what pages are made with", f"{PIP} 'posedeploy[report]'"),
)  # fmt: skip
TEST_NEEDS: Needs = (
    JUDGE,
    ("pytest", "what runs the suites", f"{PIP} 'posedeploy[test]'"),
    ("mmpose", "what the judge compares with", "posedeploy setup"),
)
PACKAGED = "_suites"  # in the installed poseconform: the same tree as at the top of a checkout
CHECKOUT = Path(__file__).resolve().parents[3]  # if this file is in one
# Suffixes of what holds a model in one file
MODEL_FILES = model_suffixes() | {".zip"}
MATRIX = ("conversion", "parity", "sdk_model")  # what runs when no suite is named
USAGE = """\
Usage: posedeploy test [SUITE...] [pytest's arguments]

Judge models on the backends that are here, or, with --sdk-model, a folder that somebody made.
Without a suite: {matrix}.
Suites: {suites}

Examples:

    posedeploy test -m onnxruntime --models quick
    posedeploy test -m "rtmpose and dynamic" --require openvino
    posedeploy test parity --model-config my.py --checkpoint my.pth --report-dir reports/mine
    posedeploy test --subject my_module:MyToolchain
    posedeploy test --sdk-model work_dir --model-config my.py --checkpoint my.pth
    posedeploy test --sdk-models zoo.toml     many folders, each with its model
    posedeploy test -m tensorrt -rs           what cannot run here, and why
    posedeploy test --help-pytest             all options of pytest and of the judge

Exit codes: 0 every cell that ran passed, 1 one did not, 2 a word is no suite, 3 something needed
is not installed; 2, 4 and 5 are also pytest's: interrupted, wrong usage, no tests selected.
"""


def check_needs(command: str, needs: Needs) -> None:
    """Raise UnavailableError for the first package that a command lacks."""
    for name, what, install in needs:
        if importlib.util.find_spec(name) is None:
            raise UnavailableError(command, f"no package '{name}'", what, f"Run: {install}")


def run_module(module: str, arguments: Sequence[str], program: str = "") -> int:
    """Run `python -m module` with this process's streams.

    The terminal sends Ctrl-C to the child as well. This process ignores it and waits, so that the
    child can finish what it writes; other signals that would end this process are passed on.
    `program` is the program's name in the child's help.

    Returns:
        The child's exit code; 128 plus the signal's number if a signal ended it, as in a shell.
    """
    # a handler, and not SIG_IGN, which the child would inherit
    before = signal.signal(signal.SIGINT, lambda *_: None)
    environment = {**os.environ, **({PROGRAM: program} if program else {})}
    command = [sys.executable, "-m", module, *arguments]
    try:
        with (
            subprocess.Popen(ending_with_this(command), env=environment) as child,
            handling_stop_signals(lambda signum, _frame: child.send_signal(signum)),
        ):
            code = child.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return code if code >= 0 else 128 - code


def report(context: typer.Context) -> None:
    """Make, compare and merge reports: build, diff, merge, table, baseline."""
    check_needs("posedeploy report", REPORT_NEEDS)
    words = ["poseconform.report", *context.args]
    raise typer.Exit(run_module("posedeploy.cli.guarded", words, "posedeploy report"))


def test(context: typer.Context) -> None:
    """Run the conformance suites: posedeploy test [SUITE...] [pytest's arguments]."""
    raise typer.Exit(run_suites(list(context.args), suites_root()))


def run_suites(
    words: Sequence[str], root: Path | None, run: Callable[[str, Sequence[str]], int] = run_module
) -> int:
    """Run the suites in the folder `root`, or print the help; `run` runs a module.

    Raises:
        BadInputError: A word is no suite.
        UnavailableError: There are no suites, or a package is missing.
    """
    if {"--help", "-h"} & set(words):
        suites = ", ".join(suite_names(root)) if root else "not installed here"
        typer.echo(USAGE.format(matrix=", ".join(MATRIX), suites=suites), nl=False)
        return 0
    check_needs("posedeploy test", TEST_NEEDS)
    if root is None:
        raise UnavailableError(
            "posedeploy test", f"neither suites/ in a checkout nor poseconform/{PACKAGED}",
            "the conformance suites, which every wheel of this project brings",
            "Install it again: python -m pip install --force-reinstall posedeploy",
        )  # fmt: skip
    refuse_stray(words, suite_names(root))
    return run("pytest", pytest_arguments(words, root))


def refuse_stray(words: Sequence[str], suites: Sequence[str]) -> None:
    """Raise a BadInputError for a word that is neither a suite nor the value of an option.

    pytest would run the whole matrix besides it. Test files are pytest's.
    """
    rest = list(dropwhile(lambda word: word in suites, words))
    for before, word in pairwise(["", *rest]):
        model = (Path(word) / DEPLOY).is_file() or Path(word).suffix in MODEL_FILES
        of_option = before.startswith("-") or word.startswith("-")
        if of_option or ".py" in word or (before and not model):
            continue
        raise BadInputError(
            f"posedeploy test {word}", "an SDK model" if model else "no such suite",
            f"one of {', '.join(suites)}, or options",
            f"To judge it, type: posedeploy test --sdk-model {shlex.quote(word)} "
            "--model-config CONFIG.py --checkpoint FILE.pth" if model
            else did_you_mean(word, suites),
        )  # fmt: skip


def suites_root(checkout: Path = CHECKOUT, packages: Sequence[Path] | None = None) -> Path | None:
    """The folder that holds `conftest.py`, `suites/` and `fixtures/`; None where there is none.

    A checkout's own comes before the copy that a wheel has put into `poseconform`, whose folders
    are `packages` (None finds them).
    """
    if packages is None:
        spec = importlib.util.find_spec("poseconform")
        packages = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for folder in (checkout, *(package / PACKAGED for package in packages)):
        if (folder / "suites").is_dir() and (folder / "conftest.py").is_file():
            return folder
    return None


def suite_names(root: Path) -> list[str]:
    """Names of the suites: the folders in `suites/` that hold tests."""
    return sorted(p.name for p in (root / "suites").iterdir() if any(p.glob("test_*.py")))


def pytest_arguments(words: Sequence[str], root: Path) -> list[str]:
    """Arguments of pytest: the ini file, the root, the suites named first, the other words."""
    count = next((i for i, word in enumerate(words) if word not in suite_names(root)), len(words))
    files = (root / name for name in ("pyproject.toml", "pytest.ini"))
    ini = next((["-c", str(file)] for file in files if file.is_file()), [])
    folders = [str(root / "suites" / name) for name in words[:count] or MATRIX]
    rest = ["--help" if word == "--help-pytest" else word for word in words[count:]]
    return [*ini, "--rootdir", str(root), *folders, *rest]
