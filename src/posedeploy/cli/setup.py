"""`posedeploy setup`: installs mmpose, mmpretrain, mmengine and mmcv-lite at the tested versions.

Without their own requirements: those name packages that do not build, or that are not needed. What
mmpose imports is in the extra `convert`, and `posedeploy.compat` provides the rest.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from packaging.requirements import Requirement

from posedeploy.cli.terminal import console, one_line
from posedeploy.errors import UnavailableError

INSTALL_CONVERTING = "python -m pip install 'posedeploy[convert]' && posedeploy setup"
PINS = "requirements/mmpose.txt"  # written by `tox -e lock`; the wheel carries it
SUBJECT = "posedeploy setup"
REPLACE = "--replace"
STANDS_FOR = {"mmcv-lite": "mmcv"}  # the compiled package has the same modules, and more
IMPORTING = """
from posedeploy import compat
compat.install()
import mmpose.apis, mmpose.datasets.transforms, mmpose.models
import mmpretrain.models
"""


@dataclass(frozen=True)
class Environment:
    """The Python environment that packages go into."""

    installed: Callable[[str], str | None]  # version of a distribution
    needed: Sequence[Requirement]  # those of the extra `convert`
    pip: bool  # whether this interpreter has pip
    uv: str | None  # path of uv
    managed: bool  # the operating system's, which pip and uv leave alone (PEP 668)
    run: Callable[[Sequence[str]], int]  # runs a command on this terminal; its exit code
    importing: Callable[[], str]  # what went wrong with `import mmpose`; '' if nothing did


def setup(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option(
        "--dry-run", help="Print what would be installed, and change nothing.")] = False,
    replace: Annotated[bool, typer.Option(
        REPLACE, help="Install the tested versions in place of others too.")] = False,
) -> None:  # fmt: skip
    """Install mmpose, mmpretrain, mmengine and mmcv-lite at the tested versions.

    They are needed for converting and judging. They are installed without their own requirements,
    some of which do not build. Everything that they import here comes with the extra `convert`.
    Running it again changes nothing.

    Examples:

    - `posedeploy setup`
    - `posedeploy setup --dry-run`
    """
    environment: Environment = context.obj or this_environment()
    out = console()
    check_needed(environment)
    wanted = []
    for pin in pins():
        state, install = compare(pin, environment.installed, replace=replace)
        out.print(one_line(f"  {pin.name:<11}{state}"), soft_wrap=True)
        wanted += [str(pin)] if install else []
    if wanted:
        command = installing(wanted, environment)
        out.print(f"{'would run' if dry_run else 'running'}: {one_line(shlex.join(command))}",
                  soft_wrap=True)  # fmt: skip
        if dry_run:
            return
        if code := environment.run(command):
            raise UnavailableError(
                SUBJECT, f"exit code {code} of {shlex.join(command)}", "0; its reason is above",
                "Correct that, and run posedeploy setup again.",
            )  # fmt: skip
    if reason := environment.importing():
        raise UnavailableError(
            SUBJECT, f"mmpose does not import: {reason}", "the versions of `posedeploy setup`",
            f"Run: posedeploy setup {REPLACE}, or do it in a new virtual environment.",
        )  # fmt: skip
    out.print("[green]mmpose imports[/]: `posedeploy convert` can run here")


def pins() -> list[Requirement]:
    """The tested versions: `requirements/mmpose.txt`, in the wheel or the checkout."""
    here = Path(__file__).resolve()
    file = here.parents[1] / PINS
    if not file.is_file():
        file = here.parents[3] / PINS
    lines = file.read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def compare(
    pin: Requirement, installed: Callable[[str], str | None], *, replace: bool
) -> tuple[str, bool]:
    """What is to be said of a package, and whether it is to be installed."""
    tested = str(pin.specifier).removeprefix("==")
    other = STANDS_FOR.get(pin.name, "")
    if other and (version := installed(other)):
        return f"{other} {version} is installed, and stands for it", False
    version = installed(pin.name)
    if version == tested:
        return f"{tested} is installed", False
    if version is None:
        return f"{tested} is to be installed", True
    if replace:
        return f"{tested} is to replace {version}", True
    return f"{version} is installed and stays; {tested} is tested ({REPLACE} installs it)", False


def check_needed(environment: Environment) -> None:
    """Raise UnavailableError where packages of the extra `convert` are missing."""
    names = (one.name for one in environment.needed)
    if missing := [name for name in names if environment.installed(name) is None]:
        raise UnavailableError(
            SUBJECT, f"no package {', '.join(missing)} in this environment",
            "those of the extra `convert`, which mmpose imports", f"Run: {INSTALL_CONVERTING}",
        )  # fmt: skip


def installing(wanted: Sequence[str], environment: Environment) -> list[str]:
    """The command that installs packages; UnavailableError where none can."""
    if environment.managed:
        raise UnavailableError(
            SUBJECT, f"a Python that the operating system manages ({sys.prefix})",
            "a virtual environment",
            "Make one: python3 -m venv .venv && . .venv/bin/activate; install posedeploy there.",
        )  # fmt: skip
    if environment.pip:
        return [sys.executable, "-m", "pip", "install", "--no-deps", *wanted]
    if environment.uv:
        return [environment.uv, "pip", "install", "--python", sys.executable, "--no-deps", *wanted]
    raise UnavailableError(
        SUBJECT, f"neither pip in {sys.prefix} nor uv on the PATH", "one of them",
        "Run: python -m ensurepip, and then posedeploy setup again.",
    )  # fmt: skip


def this_environment() -> Environment:
    """The environment of this interpreter."""
    return Environment(
        installed=_version,
        needed=_needed(),
        pip=importlib.util.find_spec("pip") is not None,
        uv=shutil.which("uv"),
        managed=is_managed(
            virtual=sys.prefix != sys.base_prefix, stdlib=Path(sysconfig.get_path("stdlib")),
            variables=os.environ,
        ),
        run=lambda command: subprocess.run(command, check=False).returncode,
        importing=_importing,
    )  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _needed() -> list[Requirement]:
    try:
        texts = importlib.metadata.requires("posedeploy") or []
    except importlib.metadata.PackageNotFoundError:  # run from its sources: `import mmpose` tells
        return []
    needed = [Requirement(text) for text in texts]
    return [n for n in needed if n.marker is not None and _for_converting(n)]


def _for_converting(needed: Requirement) -> bool:
    marker = needed.marker
    return bool(marker and marker.evaluate({"extra": "convert"}) and not marker.evaluate())


def is_managed(*, virtual: bool, stdlib: Path, variables: Mapping[str, str]) -> bool:
    """Whether the operating system keeps pip from installing (PEP 668).

    Args:
        virtual: Whether this is a virtual environment.
        stdlib: The folder of the standard library, where the system marks its Python.
        variables: The environment variables; pip's own overrides the mark.
    """
    if virtual or variables.get("PIP_BREAK_SYSTEM_PACKAGES"):
        return False
    return (stdlib / "EXTERNALLY-MANAGED").is_file()


def _importing() -> str:
    """In a new process: this one has looked for the packages before they were there."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"
