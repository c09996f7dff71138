"""A run that is stopped or killed in the middle leaves the report of what was done."""

from __future__ import annotations

import json
import os
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

@pytest.mark.stage("run")
def test_runs(cell, record):
    record(batches=(1,))

@pytest.mark.stage("numeric")
def test_numbers(cell, record):
    if "BLOCK" in os.environ and cell.id == "m2-simcc_onnxruntime_static":
        with open(os.environ["BLOCK"], "w") as pipe:
            pipe.write(str(os.getpid()))
        if "DIE" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
    record(headroom=0.5)
"""
# What runs in a shell's background ignores SIGINT, and so would the processes that it starts.
MAIN = (
    "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "sys.exit(pytest.main(sys.argv[1:]))"
)
WAIT = 60  # seconds after which a process that should have ended has failed to
HALF = "m2-simcc_onnxruntime_static"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Start]:
    """Starts pytest and returns once a test of the cell `HALF` runs."""
    pytester.makepyfile(test_cells=TESTS)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), *sys.path]))
    monkeypatch.setenv("BLOCK", str(pipe))
    for name in ("POSECONFORM_DISABLE", "GITHUB_ACTIONS"):
        monkeypatch.delenv(name, raising=False)
    processes: list[subprocess.Popen[str]] = []

    def run(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *PLUGINS, "--report-dir", "report", *options],
            cwd=pytester.path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
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
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=lambda s: s.name)
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


def test_a_worker_that_dies_has_crashed_in_its_stage(
    start: Start, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE", "1")
    process = start("-n", "2")
    process.communicate(timeout=WAIT)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED
    folder = pytester.path / "report"
    assert outcomes(folder)[HALF] == "crash"
    assert sorted(outcomes(folder).values()).count("pass") == 3
    assert "interrupted" not in run_facts(folder)


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
