"""A child's crash, hang or error costs the call, never this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from poseconform.isolation.child import Child, ChildCrash, ChildFailure, ChildTimeout
from posedeploy.runtime.processes import Limit

HELPERS = """
import os, signal, sys, time
def add(a, b): return a + b
def pid(): return os.getpid()
def die(number):
    print("about to die", flush=True)
    os.kill(os.getpid(), number)
def leave(status): os._exit(status)
def hang():
    print("hanging", flush=True)
    time.sleep(600)
def complain():
    print("detail on stdout")
    raise ValueError("what went wrong")
class Staged(Exception):
    def __init__(self, stage):
        super().__init__("at " + stage)
        self.stage = stage
def fail_at(stage): raise Staged(stage)
def lack(tool):
    from poseconform.subject.protocol import NotConvertibleError
    raise NotConvertibleError("no " + tool)
def chatter():
    os.write(1, b"noise on file descriptor 1\\n" * 1000)
    return "clean"
def big(n): return bytes(n)
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
    return seconds
def burn_in_a_child(seconds):
    import subprocess
    code = "import time\\nwhile time.process_time() < %s: pass" % seconds
    return subprocess.run([sys.executable, "-c", code]).returncode
def start_another():
    import subprocess
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]).pid
def wait_for_another(seconds):
    from posedeploy.runtime.processes import waiting
    with waiting(): time.sleep(seconds)
    return "free"
"""


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    (tmp_path / "child_helpers.py").write_text(HELPERS)
    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    with Child(tmp_path / "log" / "child.log", env) as child:
        yield child


def test_values_come_back_and_the_child_stays(child: Child) -> None:
    assert child.call("child_helpers:add", 2, 3, timeout=60) == 5
    first = child.call("child_helpers:pid", timeout=60)
    assert child.call("child_helpers:pid", timeout=60) == first != os.getpid()


def test_a_reply_larger_than_a_pipe_arrives_whole(child: Child) -> None:
    assert len(child.call("child_helpers:big", 5_000_000, timeout=60)) == 5_000_000


def test_noise_on_standard_output_does_not_garble_the_reply(child: Child) -> None:
    assert child.call("child_helpers:chatter", timeout=60) == "clean"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_names_its_signal_and_its_call(child: Child, number: signal.Signals) -> None:
    with pytest.raises(ChildCrash) as caught:
        child.call("child_helpers:die", int(number), timeout=60)
    assert caught.value.message == f"{number.name} in child_helpers:die"
    assert "about to die" in caught.value.log_tail
    assert child.call("child_helpers:add", 1, 1, timeout=60) == 2  # a new child serves on


def test_an_exit_without_an_answer_is_a_crash(child: Child) -> None:
    with pytest.raises(ChildCrash, match="exit status 7"):
        child.call("child_helpers:leave", 7, timeout=60)


def test_a_hang_is_killed_in_time(child: Child) -> None:
    child.call("child_helpers:pid", timeout=60)
    started = time.monotonic()
    with pytest.raises(ChildTimeout, match=r"^hang: no CPU used for .* in child_helpers") as e:
        child.call("child_helpers:hang", timeout=Limit(600, idle=1.0))
    assert time.monotonic() - started < 30
    assert e.value.code == "hang"
    assert "hanging" in e.value.log_tail
    assert child.call("child_helpers:add", 1, 1, timeout=60) == 2


@pytest.mark.parametrize("function", ["burn", "burn_in_a_child"])
def test_a_call_that_computes_for_too_long_is_killed(child: Child, function: str) -> None:
    child.call("child_helpers:pid", timeout=60)
    with pytest.raises(ChildTimeout, match="still computing after") as caught:
        child.call(f"child_helpers:{function}", 600, timeout=Limit(1.0, idle=5.0))
    assert caught.value.code == "cpu-time"
    assert child.call("child_helpers:add", 1, 1, timeout=60) == 2


@pytest.mark.parametrize("end", ["timeout", "close", "crash"])
def test_what_a_child_has_started_ends_with_it(child: Child, end: str) -> None:
    pid = child.call("child_helpers:start_another", timeout=60)
    if end == "timeout":
        with pytest.raises(ChildTimeout):
            child.call("child_helpers:hang", timeout=Limit(600, idle=1.0))
    elif end == "crash":
        with pytest.raises(ChildCrash):
            child.call("child_helpers:leave", 7, timeout=60)
    else:
        child.close()
    stop = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < stop, "it still runs"
        time.sleep(0.05)


def test_a_call_counts_its_own_cpu_time_alone(child: Child) -> None:
    for _ in range(3):
        assert child.call("child_helpers:burn", 0.4, timeout=1.0) == 0.4


@pytest.mark.skipif(sys.platform != "linux", reason="pins processes to a processor")
def test_a_call_that_a_busy_machine_starves_is_not_killed(child: Child) -> None:
    """It gets what two busy processes leave of one processor: about 14 %."""
    pid = child.call("child_helpers:pid", timeout=60)
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(pid, {cpu})
    os.setpriority(os.PRIO_PROCESS, pid, 5)
    spin = f"import os\nos.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(2)]
    try:
        started = time.monotonic()
        assert child.call("child_helpers:burn", 0.3, timeout=Limit(0.8, idle=0.8)) == 0.3
        assert time.monotonic() - started > 0.8  # time on the clock would have ended it
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_a_call_that_says_that_it_waits_is_not_taken_for_a_hang(child: Child) -> None:
    limit = Limit(60, idle=1.0)
    assert child.call("child_helpers:wait_for_another", 3.0, timeout=limit) == "free"
    with pytest.raises(ChildTimeout, match="hang"):
        child.call("child_helpers:hang", timeout=limit)


PARENT = """
import sys
from pathlib import Path
from poseconform.isolation.child import Child
child = Child(Path(sys.argv[1]) / "child.log", {"PYTHONPATH": sys.argv[2]})
print(child.call("child_helpers:pid", timeout=60), flush=True)
child.call("child_helpers:burn", 600, timeout=600)
"""


def test_a_child_that_computes_ends_with_its_parent(tmp_path: Path, child: Child) -> None:
    del child  # its fixture writes the helpers
    path = os.pathsep.join([str(tmp_path), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), path], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        orphan = psutil.Process(int(parent.stdout.readline()))
        before = sum(orphan.cpu_times()[:2])
        while sum(orphan.cpu_times()[:2]) < before + 0.1:  # it computes
            time.sleep(0.02)
        parent.kill()
    try:
        orphan.wait(20)  # some hundredths of a second where the machine is not loaded
    finally:
        if orphan.is_running():
            orphan.kill()


def test_an_error_is_passed_on_with_its_type_and_log(child: Child) -> None:
    with pytest.raises(ChildFailure) as caught:
        child.call("child_helpers:complain", timeout=60)
    assert caught.value.stage == ""
    assert caught.value.message == "ValueError: what went wrong"
    assert "complain" in caught.value.log_tail


def test_an_error_carries_the_stage_that_it_names(child: Child) -> None:
    with pytest.raises(ChildFailure, match="Staged: at convert") as caught:
        child.call("child_helpers:fail_at", "convert", timeout=60)
    assert caught.value.stage == "convert"


def test_an_error_carries_the_code_of_what_is_unavailable(child: Child) -> None:
    with pytest.raises(ChildFailure, match="NotConvertibleError: no compiler") as caught:
        child.call("child_helpers:lack", "compiler", timeout=60)
    assert (caught.value.stage, caught.value.unavailable) == ("", "tool-missing")
