"""Commands in child processes: their codes, their signals, and an interrupt they end by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from posedeploy.cli import INTERRUPTED, STOPPED
from posedeploy.cli.judge import check_needs, run_module
from posedeploy.errors import UnavailableError

PARENT = """
import sys
from posedeploy.cli.judge import run_module
sys.exit(run_module("patient", []))
"""
CHILD = """
import sys, time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)  # longer than subprocess.run waits before it kills
    print("put away", flush=True)
    sys.exit(2)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "patient.py"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", 0),
        ("import sys; sys.exit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
    ],
)
def test_the_exit_code_of_the_child_is_the_one_a_shell_gives(
    module: Path, text: str, code: int
) -> None:
    module.write_text(text)
    assert run_module("patient", []) == code


def test_an_interrupt_leaves_the_child_the_time_to_put_its_things_away(module: Path) -> None:
    module.write_text(CHILD)
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        assert parent.pid > 1
        os.killpg(parent.pid, signal.SIGINT)  # both, as a terminal does; their session is new
        assert parent.stdout.readline() == "put away\n"
        assert parent.wait(30) == 2


def test_the_handler_is_put_back(module: Path) -> None:
    module.write_text("")
    before = signal.getsignal(signal.SIGINT)
    run_module("patient", [])
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_missing_is_named_with_what_to_install() -> None:
    check_needs("posedeploy test", [("json", "a package", "json")])
    with pytest.raises(UnavailableError, match=r"no package 'nonesuch'.*Run: install it"):
        check_needs("posedeploy test", [("json", "", ""), ("nonesuch", "a judge", "install it")])


INTERRUPTED_WHILE_IMPORTING = """
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "posedeploy.cli.app":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Finder())
from posedeploy.cli import main
main()
"""


def test_an_interrupt_while_commands_are_imported_is_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", f"{STOPPED}\n")


def test_the_report_is_called_by_the_name_it_was_called_by() -> None:
    command = [sys.executable, "-m", "posedeploy", "report", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Usage: posedeploy report " in done.stdout
