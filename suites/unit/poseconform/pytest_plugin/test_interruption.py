"""A run that is stopped or killed in the middle leaves the report of what was done."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fixtures.fake_subject import PLUGINS
from poseconform.report.__main__ import main

pytest_plugins = ["pytester"]

# Two cells end; the tests of the third say so on a pipe and then wait for a signal.
TESTS = """
import os
import pytest
import signal

HALF = "m2-simcc_onnxruntime_static"

@pytest.mark.stage("run")
def test_runs(cell, record):
    record(batches=(1,))

@pytest.fixture
def dying(request):
    yield
    # the test is over and its record is on disk; the report may not have reached the controller
    if os.environ.get("DIE") == "after" and request.node.callspec.params["cell"].id == HALF:
        os.kill(os.getpid(), signal.SIGKILL)

@pytest.mark.stage("numeric")
def test_numbers(cell, record, dying):
    if "BLOCK" in os.environ and cell.id == HALF:
        with open(os.environ["BLOCK"], "w") as pipe:
            pipe.write(str(os.getpid()))
        if os.environ.get("DIE") == "in":
            os.kill(os.getpid(), signal.SIGKILL)
        if os.environ.get("DIE") == "after":
            record(headroom=0.5)
            return
        signal.pause()
    record(headroom=0.5)
"""
# What runs in a shell's background ignores SIGINT, and so would the processes that it starts.
MAIN = (
    "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.exit(pytest.main(sys.argv[1:]))"
)
# Makes standard input the terminal of its session, as a shell's is, and becomes the program.
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.argv[1], sys.argv[1:])"
)
STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
WAIT = 60  # seconds after which a process that should have ended has failed to
HALF = "m2-simcc_onnxruntime_static"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(
    inner_run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Start]:
    """Starts pytest and returns once a test of the cell `HALF` runs."""
    inner_run.makepyfile(test_cells=TESTS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv("BLOCK", str(pipe))
    processes: list[subprocess.Popen[str]] = []

    def run(*options: str, terminal: int | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", MAIN, *PLUGINS, "--report-dir", "report", *options]
        if terminal is None:
            process = subprocess.Popen(
                command, cwd=inner_run.path, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        else:
            process = subprocess.Popen(
                [sys.executable, "-c", IN_TERMINAL, *command], cwd=inner_run.path, text=True,
                stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            )  # fmt: skip
        processes.append(process)
        assert select.select([reader], [], [], WAIT)[0], "no test of the cell has begun"
        assert os.read(reader, 100)
        return process

    yield run
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()
    os.close(reader)


def outcomes(folder: Path) -> dict[str, str]:
    data = json.loads((folder / "results.json").read_text())
    return {
        f"{c['model']}-{c['deploy_config'].removeprefix('pose-detection_')}": c["outcome"]
        for c in data["cells"]
    }


def run_facts(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "results.json").read_text())["run"]
    return facts


def check_what_was_done(folder: Path) -> None:
    ended = outcomes(folder)
    assert len(ended) == 6
    assert ended[HALF] == "missing"
    assert set(ended.values()) <= {"pass", "missing", "unavailable:no-driver"}
    assert ended["m2-simcc_onnxruntime_dynamic"] == "pass"
    for name in ("index.html", "support-table.md"):
        assert "The run was interrupted (" in (folder / name).read_text()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
@pytest.mark.parametrize("signum", STOPPING, ids=lambda s: s.name)
def test_a_run_that_is_stopped_writes_its_report(
    start: Start, pytester: pytest.Pytester, signum: signal.Signals, workers: tuple[str, ...]
) -> None:
    process = start(*workers)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    check_what_was_done(pytester.path / "report")
    assert run_facts(pytester.path / "report")["interrupted"] == signum.name
    assert f"The run was interrupted ({signum.name})." in output
    left = {path.name for path in (pytester.path / "report").iterdir()}
    assert left == {"index.html", "junit.xml", "results.json", "support-table.md"}


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "two-workers"])
def test_the_report_of_a_killed_run_is_made_later(
    start: Start, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    process = start(*workers)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait(WAIT)
    folder = pytester.path / "report"
    assert not (folder / "results.json").exists()
    assert main(["build", str(folder)]) == 0
    check_what_was_done(folder)
    assert "killed" in run_facts(folder)["interrupted"]
    assert run_facts(folder)["command"].startswith("python -m pytest")
    _, running = psutil.wait_procs(children, WAIT)
    assert running == [], "workers must not outlive the process that started them"


@pytest.mark.parametrize(
    ("workers", "when", "restart"),
    [
        ("1", "in", ()),
        ("2", "after", ()),
        ("1", "after", ("--max-worker-restart", "0")),
        ("2", "in", ("--max-worker-restart", "0")),
    ],
)
def test_a_worker_that_is_killed_has_crashed_in_its_cell(
    start: Start,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    restart: tuple[str, ...],
    workers: str,
) -> None:
    monkeypatch.setenv("DIE", when)
    process = start("-n", workers, *restart)
    output, _ = process.communicate(timeout=WAIT)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED
    folder = pytester.path / "report"
    ended = outcomes(folder)
    assert ended[HALF] == "crash"
    assert set(ended.values()) <= {"crash", "pass", "missing", "unavailable:no-driver"}
    assert "match PyTorch" not in output
    for name in ("index.html", "support-table.md"):
        assert "match PyTorch" not in (folder / name).read_text()
        assert "crash" in (folder / name).read_text()
    if not restart:
        assert sorted(ended.values()).count("pass") == 3
        assert "interrupted" not in run_facts(folder)


def test_a_closed_terminal_leaves_the_report(start: Start, pytester: pytest.Pytester) -> None:
    ours, theirs = pty.openpty()
    process = start(terminal=theirs)
    os.close(theirs)
    os.close(ours)  # the system sends SIGHUP
    process.wait(WAIT)
    check_what_was_done(pytester.path / "report")
    assert run_facts(pytester.path / "report")["interrupted"] == "SIGHUP"


def test_a_time_limit_of_the_session_is_named(
    pytester: pytest.Pytester, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BLOCK")
    result = pytester.runpytest_subprocess(
        *PLUGINS, "--report-dir", "report", "--session-timeout", "0.000001"
    )
    assert result.ret != pytest.ExitCode.OK
    folder = pytester.path / "report"
    assert "session-timeout" in run_facts(folder)["interrupted"]
    assert list(outcomes(folder).values()).count("missing") == 6
