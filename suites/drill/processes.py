"""Programs that attempts start, wait for and kill."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from fixtures.fake_subject import PLUGINS
from posedeploy.runtime.processes import POLL_SECONDS, Limit, Watch, usage_of
from suites.drill.harness import ROOT

WAIT = 100.0  # seconds after which a killed process and its children should have ended
LIMIT = Limit(cpu=100.0, idle=60.0)  # of a program that ends by itself, on a busy machine too


def python(*words: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *words]


def environment(scratch: Path) -> dict[str, str]:
    """A child's: temporary files lie in the attempt's folder."""
    (scratch / "tmp").mkdir(exist_ok=True)
    paths = [str(scratch), str(ROOT / "src"), str(ROOT)]
    mine = {
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(scratch / "tmp"),
        "PYTHONPATH": os.pathsep.join(paths),
    }
    hidden = {"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"}
    return {**{k: v for k, v in os.environ.items() if k not in hidden}, **mine}


def start(words: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """A program in a session of its own, whose output goes to a file; no signal is ignored."""
    program = "import signal, sys; [signal.signal(s, signal.SIG_DFL) for s in (1, 15)]; "
    program += f"signal.signal(2, signal.default_int_handler); {words[0]}"
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            python("-c", program, *words[1:]), cwd=folder, env=environment(folder),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def kill(process: subprocess.Popen[bytes], signum: int) -> list[psutil.Process]:
    """Send a signal to a process alone; its descendants that outlive it are returned, ended."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.send_signal(signum)
    try:
        process.wait(WAIT)
    except subprocess.TimeoutExpired:
        children.append(psutil.Process(process.pid))
    _, running = psutil.wait_procs(children, WAIT / 2)
    for child in running:
        child.kill()
    process.wait()
    return list(running)


def status_of(process: subprocess.Popen[bytes]) -> int | None:
    """The exit status of a program when it ends; None if it exceeds `LIMIT`, and is killed."""
    watch = Watch(LIMIT, lambda: usage_of(process.pid))
    while True:
        try:
            return process.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if watch.overrun():
                process.kill()
                process.wait()
                return None


def wait_for(ready: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    """Wait until a function gives something true, or the process ends."""
    end = time.monotonic() + WAIT
    while not ready() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)


def start_judge(
    folder: Path, tests: str, *options: str, before: str = "pass"
) -> subprocess.Popen[bytes]:
    """A run of the judge over the fake subject; `before` is a statement for its process."""
    (folder / "test_cells.py").write_text(tests)
    main = f"import os, pytest; {before}; sys.exit(pytest.main(sys.argv[1:]))"
    words = [] if any(o.startswith("--report-dir") for o in options) else ["--report-dir=report"]
    return start([main, *PLUGINS, "test_cells.py", *words, *options], folder)
