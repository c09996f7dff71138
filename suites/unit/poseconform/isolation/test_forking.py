"""Children that are forked: as separate as fresh ones, and without their imports."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from poseconform.isolation.child import SINGLE_THREAD, Child, ChildFailure
from poseconform.isolation.children import CellChildren
from poseconform.isolation.forking import ForkServer
from poseconform.judge.judge import PRELOADED
from posedeploy.runtime import BACKENDS
from posedeploy.runtime.processes import Limit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is forked elsewhere")

HELPERS = """
import ctypes, os, signal, sys, time
kept, imported_by = [], os.getpid()
class Odd(Exception):
    def __init__(self): super().__init__(sys)
def abort(): os.abort()
def close_descriptors(): os.closerange(3, 256)
def compute(): print('computing', flush=True); all(n == 0 for n in iter(int, 1))
def exit(): os._exit(0)
def flood(): [os.write(1, b"x" * 2 ** 20) for _ in range(20)]; os.abort()
def leak_and_die(): kept.append(bytearray(2 ** 28)); os.kill(os.getpid(), 9)
def raise_odd(): raise Odd()
def segfault(): ctypes.string_at(0)
def stop(): os.kill(os.getpid(), signal.SIGSTOP)
def wait(): time.sleep(600)
def state():
    import threading
    kept.append(1)
    return os.getpid(), imported_by, len(kept), os.getppid(), threading.active_count()
def loaded(names): return [name for name in names if name in sys.modules]
"""
# Fault -> how it is named
FAULTS = {
    "abort": "SIGABRT", "close_descriptors": "exit status 1", "compute": "timeout: ",
    "exit": "exit status 0", "flood": "SIGABRT", "leak_and_die": "SIGKILL", "raise_odd": "Odd: ",
    "segfault": "SIGSEGV", "stop": "hang: ", "wait": "hang: ",
}  # fmt: skip


@pytest.fixture
def helpers(tmp_path: Path) -> dict[str, str]:
    """Variables of a process that can import `fork_helpers`."""
    (tmp_path / "fork_helpers.py").write_text(HELPERS)
    return {**SINGLE_THREAD, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}


Make = Callable[..., Child]


@pytest.fixture
def cells(tmp_path: Path, helpers: dict[str, str]) -> Iterator[Callable[[str], Child]]:
    """Gives the child of a cell, as the judge asks for it."""
    children = CellChildren()

    def of(cell: str, *modules: str) -> Child:
        log, names = tmp_path / "imports.log", ("fork_helpers", *modules)
        server = children.server(names, log, helpers)
        return children.of(cell, lambda: Child(tmp_path / f"{cell}.log", helpers, server=server))

    yield of
    children.close()


def becomes_true(condition: Callable[[], bool]) -> bool:
    """True once the condition holds."""
    stop = time.monotonic() + 20
    while time.monotonic() < stop:
        if condition():
            return True
        time.sleep(0.02)
    return False


def ended(pid: int) -> bool:
    """True once a process is gone, or only waits to be asked for its status."""
    return becomes_true(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    )


def test_each_cell_has_a_process_of_its_own_that_has_imported_nothing(cells: Any) -> None:
    first = cells("a").call("fork_helpers:state", timeout=60)
    again = cells("a").call("fork_helpers:state", timeout=60)
    other = cells("b").call("fork_helpers:state", timeout=60)
    parent = first[1]
    assert first[0] not in {parent, os.getpid()}
    assert first[3] == other[1] == other[3] == parent, "one process has imported for both"
    assert again == (first[0], parent, 2, parent, 1), "calls of one cell share their process"
    assert other[0] != first[0]
    assert other[2:] == (1, parent, 1), "nothing of another cell is left"
    assert ended(first[0])


def test_each_fault_costs_the_cell_that_ran_and_names_it(cells: Any, tmp_path: Path) -> None:
    parents = set()
    for fault, name in FAULTS.items():
        with pytest.raises(ChildFailure) as caught:
            cells(fault).call(f"fork_helpers:{fault}", timeout=Limit(0.5, idle=1.0))
        assert caught.value.message.startswith(name), fault
        pid, parent, calls, *_ = cells("after").call("fork_helpers:state", timeout=60)
        assert calls == 1, f"after {fault}, a cell begins as any other"
        parents.add(parent)
        cells("")  # the next one is another cell
        assert ended(pid)
    assert len(parents) == 1
    assert (tmp_path / "flood.log").stat().st_size > 10**6, "output goes to the cell's own log"
    assert "segfault" not in (tmp_path / "imports.log").read_text()


def test_what_the_judge_imports_beforehand_can_be_forked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cells: Any
) -> None:
    """Of the backends and of the judge: they start no thread."""
    names = tuple(name for row in BACKENDS for name in row.preload) + PRELOADED
    with caplog.at_level(logging.WARNING):
        child = cells("a", *names)
        assert child.call("fork_helpers:loaded", [*names, "cv2"], timeout=60) == [*names, "cv2"]
        pid, parent, *_ = child.call("fork_helpers:state", timeout=60)
    assert pid != parent
    assert not caplog.messages


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=[600]).start()",
         "they leave 2 threads"),
        ("import os; os.abort()", "it ended, see "),
        ("import no_such_module", "it ended, see "),
        ("while True: pass", "it ended, see "),
    ],
)  # fmt: skip
def test_imports_after_which_nothing_can_be_forked_cost_time_alone(
    tmp_path: Path, helpers: dict[str, str], caplog: pytest.LogCaptureFixture, source: str,
    reason: str,
) -> None:  # fmt: skip
    (tmp_path / "awkward.py").write_text(source)
    server = ForkServer(["awkward"], tmp_path / "imports.log", helpers, Limit(0.5))
    for cell in "ab":
        with Child(tmp_path / cell, helpers, server=server) as child:
            assert child.call("fork_helpers:state", timeout=60)[2] == 1
    (message,) = caplog.messages
    assert "one that imports awkward" in message
    assert reason in message
    server.close()


PARENT = """
import sys
from pathlib import Path
from poseconform.isolation.child import Child
from poseconform.isolation.forking import ForkServer
folder, env = Path(sys.argv[1]), {"PYTHONPATH": sys.argv[2]}
child = Child(folder / "log", server=ForkServer(["fork_helpers"], folder / "imports.log", env))
print(*child.call("fork_helpers:state", timeout=60)[:2], flush=True)
child.call("fork_helpers:compute", timeout=600)
"""


@pytest.mark.parametrize("victim", ["the worker", "the one that forks"])
def test_children_end_with_the_worker_that_is_killed(
    tmp_path: Path, helpers: dict[str, str], victim: str
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), helpers["PYTHONPATH"]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **helpers},
    ) as worker:  # fmt: skip
        assert worker.stdout is not None
        child, parent = map(int, worker.stdout.readline().split())
        # a child that has ended before a call is replaced by another one
        assert becomes_true(lambda: "computing" in (tmp_path / "log").read_text())
        os.kill(worker.pid if victim == "the worker" else parent, signal.SIGKILL)
        _, errors = worker.communicate()
    assert ended(child)
    assert ended(parent)
    assert ("SIGKILL in fork_helpers:compute" in errors) == (victim != "the worker")


def test_nothing_is_left_when_the_judge_ends(cells: Any, tmp_path: Path) -> None:
    children = CellChildren()
    server = children.server(("json",), tmp_path / "log", SINGLE_THREAD)
    child = children.of("a", lambda: Child(tmp_path / "a", server=server))
    pid = child.call("os:getpid", timeout=60)
    parent = child.call("os:getppid", timeout=60)
    children.close()
    assert ended(pid)
    assert ended(parent)
    children.close()  # harmless
