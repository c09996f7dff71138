"""`posedeploy test`: run the conformance suites, of the checkout or of the installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from posedeploy.cli.children import check_needs, run_module
from posedeploy.errors import UnavailableError

NEEDS = (  # package, what it is, what to install
    ("poseconform", "the judge, of the same distribution", "--force-reinstall posedeploy"),
    ("pytest", "what runs the suites", "'posedeploy[test]'"),
    ("mmpose", "what the judge compares with", "--no-deps mmpose==1.3.2"),
)
PACKAGED = "_suites"  # in the installed poseconform: the same tree as at the top of a checkout
CHECKOUT = Path(__file__).resolve().parents[3]  # if this file is in one
MATRIX = ("conversion", "parity", "sdk_model")  # what runs when no suite is named
INI_FILES = ("pyproject.toml", "pytest.ini")
HELP_WORDS = {"--help", "-h"}
USAGE = """\
Usage: posedeploy test [SUITE...] [pytest's arguments]

Judge models on the backends that are here. Without a suite: {matrix}.
Suites: {suites}

Examples:

    posedeploy test -m onnxruntime --models quick
    posedeploy test -m "rtmpose and dynamic" --require openvino
    posedeploy test parity --model-config my.py --checkpoint my.pth --report-dir reports/mine
    posedeploy test --subject my_module:MyToolchain
    posedeploy test -m tensorrt -rs           what cannot run here, and why
    posedeploy test --help-pytest             all options of pytest and of the judge

Exit codes: 0 every cell that ran passed, 1 one did not, 3 something needed is not installed;
2, 4 and 5 are pytest's: interrupted, wrong usage, no tests selected.
"""


def test(context: typer.Context) -> None:
    """Run the conformance suites: posedeploy test [SUITE...] [pytest's arguments]."""
    raise typer.Exit(run_suites(list(context.args), suites_root()))


def run_suites(
    words: Sequence[str], root: Path | None, run: Callable[[str, Sequence[str]], int] = run_module
) -> int:
    """Run the suites, or print the help.

    Args:
        words: The arguments.
        root: What `suites_root` found.
        run: Runs a module with arguments and gives its exit code.

    Raises:
        UnavailableError: There are no suites, or a package is missing.
    """
    if HELP_WORDS & set(words):
        suites = ", ".join(suite_names(root)) if root else "not installed here"
        typer.echo(USAGE.format(matrix=", ".join(MATRIX), suites=suites), nl=False)
        return 0
    check_needs("posedeploy test", NEEDS)
    if root is None:
        raise UnavailableError(
            "posedeploy test", f"neither suites/ in a checkout nor poseconform/{PACKAGED}",
            "the conformance suites, which every wheel of this project brings",
            "Install it again: python -m pip install --force-reinstall posedeploy",
        )  # fmt: skip
    return run("pytest", pytest_arguments(words, root))


def suites_root(checkout: Path = CHECKOUT, packages: Sequence[Path] | None = None) -> Path | None:
    """The folder that holds `conftest.py`, `suites/` and `fixtures/`; None where there is none.

    A checkout's own comes first, for there the suites are being worked on; then the copy that a
    wheel has put into `poseconform`.

    Args:
        checkout: Where a checkout would have them.
        packages: Folders of the package `poseconform`; None finds them.
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
    """What pytest is told: the root, its ini file, the suites, and the rest of the words.

    Args:
        words: What the user said; names of suites at its beginning become their folders.
        root: What `suites_root` found.
    """
    names, rest, known = [], list(words), suite_names(root)
    while rest and rest[0] in known:
        names.append(rest.pop(0))
    ini = next((["-c", str(root / name)] for name in INI_FILES if (root / name).is_file()), [])
    folders = [str(root / "suites" / name) for name in names or MATRIX]
    rest = ["--help" if word == "--help-pytest" else word for word in rest]
    return [*ini, "--rootdir", str(root), *folders, *rest]
