"""`posedeploy setup` in environments of several kinds, with an installer that only records."""

from __future__ import annotations

import shlex
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from fixtures.commands import Done
from posedeploy.cli.app import app, run
from posedeploy.cli.setup import (
    INSTALL_CONVERTING,
    Environment,
    is_managed,
    pins,
    this_environment,
)

ROOT = Path(__file__).parents[4]
TESTED = {"mmcv-lite": "2.1.0", "mmengine": "0.10.7", "mmpose": "1.3.2", "mmpretrain": "1.2.0"}
EXTRA = {"scipy": "1.17", "torch": "2.13.0+cpu"}


@dataclass
class Machine:
    """Packages by name, and the commands that were run."""

    packages: dict[str, str] = field(default_factory=EXTRA.copy)
    commands: list[list[str]] = field(default_factory=list)
    code: int = 0  # of the installer
    broken: str = ""  # why mmpose does not import, once it is there
    pip: bool = True
    managed: bool = False

    def run(self, command: Sequence[str]) -> int:
        self.commands.append(list(command))
        if self.code == 0:
            self.packages |= dict(w.split("==") for w in command if "==" in w)
        return self.code

    def importing(self) -> str:
        missing = {"mmengine", "mmpose", "mmpretrain"} - set(self.packages)
        return self.broken or "".join(f"No module named {name}" for name in sorted(missing))

    def environment(self) -> Environment:
        return Environment(
            installed=self.packages.get, needed=[Requirement(name) for name in EXTRA],
            pip=self.pip, uv=None, managed=self.managed, run=self.run, importing=self.importing,
        )  # fmt: skip


def typed(environment: Environment, *words: str, capsys: pytest.CaptureFixture[str]) -> Done:
    """`posedeploy setup` in an environment."""
    with pytest.raises(SystemExit) as caught:
        run(["setup", *words], lambda **options: app(obj=environment, **options))
    out, err = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return Done(caught.value.code, out, err)


def test_the_versions_are_those_of_pyproject() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert sorted(map(str, pins())) == content["dependency-groups"]["mmpose"]
    assert {pin.name: str(pin.specifier) for pin in pins()} == {
        name: f"=={version}" for name, version in TESTED.items()
    }
    wheel = content["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert wheel["requirements/mmpose.txt"] == "posedeploy/requirements/mmpose.txt"


def test_what_is_missing_is_installed_once(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine()
    machine.packages["mmengine"] = "0.10.7"
    done = typed(machine.environment(), capsys=capsys)
    pip = [sys.executable, "-m", "pip", "install", "--no-deps"]
    assert machine.commands == [[*pip, "mmcv-lite==2.1.0", "mmpose==1.3.2", "mmpretrain==1.2.0"]]
    assert (done.code, done.err) == (0, "")
    assert [line.split() for line in done.out.splitlines()[:4]] == [
        ["mmcv-lite", "2.1.0", "is", "to", "be", "installed"],
        ["mmengine", "0.10.7", "is", "installed"],
        ["mmpose", "1.3.2", "is", "to", "be", "installed"],
        ["mmpretrain", "1.2.0", "is", "to", "be", "installed"],
    ]
    assert f"running: {shlex.join(machine.commands[0])}\n" in done.out
    assert "mmpose imports" in done.out
    again = typed(machine.environment(), capsys=capsys)
    assert (again.code, len(machine.commands)) == (0, 1)
    assert "running" not in again.out


def test_a_dry_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine()
    done = typed(machine.environment(), "--dry-run", capsys=capsys)
    assert (done.code, machine.commands, machine.packages) == (0, [], EXTRA)
    wanted = " ".join(f"{name}=={version}" for name, version in TESTED.items())
    assert f"would run: {sys.executable} -m pip install --no-deps {wanted}\n" in done.out
    assert "mmpose imports" not in done.out


def test_nothing_is_needed_of_an_installer_where_all_is_there(
    capsys: pytest.CaptureFixture[str],
) -> None:
    machine = Machine(EXTRA | TESTED, pip=False, managed=True)
    done = typed(machine.environment(), "--dry-run", capsys=capsys)
    assert (done.code, machine.commands) == (0, [])
    assert "mmpose imports" in done.out


def test_uv_installs_where_there_is_no_pip(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine(pip=False)
    environment = replace(machine.environment(), uv="/usr/bin/uv")
    assert typed(environment, capsys=capsys).code == 0
    (command,) = machine.commands
    assert command[:6] == ["/usr/bin/uv", "pip", "install", "--python", sys.executable,
                           "--no-deps"]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "version", "printed"),
    [
        ((), "1.3.1", "1.3.1 is installed and stays; 1.3.2 is tested (--replace installs it)"),
        (("--replace",), "1.3.2", "1.3.2 is to replace 1.3.1"),
    ],
)
def test_another_version_is_replaced_only_if_asked_for(
    words: tuple[str, ...], version: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(EXTRA | TESTED | {"mmpose": "1.3.1"})
    done = typed(machine.environment(), *words, capsys=capsys)
    assert (done.code, machine.packages["mmpose"]) == (0, version)
    assert printed in done.out


@pytest.mark.parametrize("words", [(), ("--replace",)])
def test_the_compiled_mmcv_stands_for_mmcv_lite(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    machine = Machine(EXTRA | TESTED | {"mmcv": "2.1.0"})
    del machine.packages["mmcv-lite"]
    done = typed(machine.environment(), *words, capsys=capsys)
    assert (done.code, machine.commands) == (0, [])
    assert "mmcv 2.1.0 is installed, and stands for it" in done.out


# ---- modify this table to add an environment in which it is refused -------------------------
# machine, found, next step, commands that were run
# fmt: off
REFUSED = {
    "externally managed": (Machine(managed=True), "a Python that the operating system manages",
                           "python3 -m venv", 0),
    "no extra":           (Machine({}), "no package scipy, torch", INSTALL_CONVERTING, 0),
    "no pip and no uv":   (Machine(pip=False), "neither pip in", "-m ensurepip", 0),
    "no network":         (Machine(code=1), "exit code 1 of", "run posedeploy setup again", 1),
    "does not import":    (Machine(broken="ImportError: mmcv 1.7 is too old"),
                           "mmpose does not import: ImportError: mmcv 1.7 is too old",
                           "posedeploy setup --replace", 1),
}
# fmt: on
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFUSED)
def test_where_it_cannot_install_it_tells_what_to_do(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    machine, found, next_step, commands = REFUSED[name]
    done = typed(machine.environment(), capsys=capsys)
    assert done.code == 3
    assert done.err.startswith("error: posedeploy setup\n  found:    ")
    assert found in done.err
    assert next_step in done.err
    assert len(machine.commands) == commands
    assert "mmpose imports" not in done.out


@pytest.mark.parametrize(
    ("marked", "virtual", "variables", "managed"),
    [
        (True, False, {}, True),
        (True, True, {}, False),
        (True, False, {"PIP_BREAK_SYSTEM_PACKAGES": "1"}, False),
        (True, False, {"PIP_BREAK_SYSTEM_PACKAGES": ""}, True),
        (False, False, {}, False),
    ],
)
def test_a_python_of_the_operating_system_is_known_by_its_mark(
    marked: bool, virtual: bool, variables: dict[str, str], managed: bool, tmp_path: Path
) -> None:
    if marked:
        (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert is_managed(virtual=virtual, stdlib=tmp_path, variables=variables) == managed


def test_this_environment_is_read() -> None:
    environment = this_environment()
    assert environment.installed("posedeploy-that-is-not-there") is None
    assert environment.installed("packaging") is not None
    names = {one.name for one in environment.needed}
    assert {"torch", "scipy", "setuptools"} <= names
    assert not {"typer", "onnxruntime", "pytest"} & names
    assert environment.importing() == ""


def test_help_names_the_options() -> None:
    result = CliRunner().invoke(app, ["setup", "--help"], env={"COLUMNS": "100"})
    assert "--dry-run" in result.output
    assert "--replace" in result.output
