"""What computes is limited by CPU time, what hangs by the time without any."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from posedeploy.runtime import processes
from posedeploy.runtime.processes import (
    POLL_SECONDS,
    Limit,
    OutOfTimeError,
    Overrun,
    Usage,
    Watch,
    held,
    run_program,
    tell_waiting,
    usage_of,
    waiting,
)

WAIT = 30.0
BURN = "import time; e = time.process_time() + {0}\nwhile time.process_time() < e: pass"
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Process:
    """A process that a test moves on, and the clock."""

    def __init__(self) -> None:
        self.now, self.cpu, self.active = 100.0, 7.0, False

    def usage(self) -> Usage:
        return Usage(self.cpu, self.active)

    def clock(self) -> float:
        return self.now

    def watch(self, limit: Limit) -> Watch:
        return Watch(limit, self.usage, self.clock)

    def live(self, watch: Watch, seconds: float, share: float) -> Overrun | None:
        """Use so much of a CPU for so many seconds; the first limit that is exceeded."""
        end = self.now + seconds
        while self.now < end:
            self.now += POLL_SECONDS
            self.cpu += share * POLL_SECONDS
            overrun = watch.overrun()
            if overrun is not None:
                return overrun
        return None


@pytest.fixture
def process() -> Process:
    return Process()


def test_what_computes_is_ended_by_its_cpu_time(process: Process) -> None:
    watch = process.watch(Limit(60.0))
    assert process.live(watch, 60.0, 1.0) is None
    message = "timeout: still computing after 60.5 s of CPU (limit 60 s)"
    assert process.live(watch, 60.0, 1.0) == Overrun("cpu-time", message)


def test_a_machine_with_a_tenth_of_a_cpu_to_spare_changes_nothing(process: Process) -> None:
    watch = process.watch(Limit(60.0))
    assert process.live(watch, 590.0, 0.1) is None
    overrun = process.live(watch, 30.0, 0.1)
    assert overrun is not None
    assert overrun.code == "cpu-time"


@pytest.mark.parametrize("share", [0.0, 0.001])
def test_what_uses_no_cpu_hangs_though_it_polls(process: Process, share: float) -> None:
    watch = process.watch(Limit(600.0, idle=45.0))
    assert process.live(watch, 30.0, 1.0) is None
    began = process.now
    overrun = process.live(watch, 3600.0, share)
    assert overrun is not None
    assert overrun.code == "hang"
    assert overrun.message.startswith("hang: no CPU used for 45.5 s, after 30")
    assert process.now - began < 60.0


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_what_uses_little_cpu_does_not_hang(process: Process, share: float) -> None:
    assert process.live(process.watch(Limit(600.0, idle=45.0)), 1800.0, share) is None


def test_what_waits_for_a_processor_or_a_disk_does_not_hang(process: Process) -> None:
    process.active = True
    watch = process.watch(Limit(600.0, idle=45.0))
    assert process.live(watch, 3600.0, 0.0) is None
    overrun = process.live(watch, 3600.0 * 4, 0.0)
    message = "timeout: no answer within 12000 s, in 0 s of CPU"
    assert overrun == Overrun("wall-clock", message)


def test_what_waits_for_another_process_does_not_hang(process: Process) -> None:
    watch = process.watch(Limit(60.0, idle=45.0, wall=600.0))
    watch.waiting = True
    assert process.live(watch, 1800.0, 0.0) is None
    watch.waiting = False
    assert process.live(watch, 45.0, 0.0) is None
    overrun = process.live(watch, 10.0, 0.0)
    assert overrun is not None
    assert overrun.code == "hang"


def test_time_in_which_the_watching_process_was_stopped_does_not_count(process: Process) -> None:
    watch = process.watch(Limit(60.0, idle=45.0, wall=100.0))
    process.now += 7200.0  # Ctrl-Z
    assert watch.overrun() is None
    assert process.live(watch, 40.0, 0.0) is None


def test_time_on_the_clock_counts_where_cpu_time_cannot_be_read(process: Process) -> None:
    watch = Watch(Limit(60.0), lambda: None, process.clock)
    assert process.live(watch, 60.0, 0.0) is None
    overrun = process.live(watch, 10.0, 0.0)
    assert overrun is not None
    assert overrun.code == "cpu-time"


def test_the_last_resort_leaves_a_process_a_twentieth_of_a_cpu() -> None:
    assert Limit(60.0).last_resort == 3600.0
    assert Limit(900.0).last_resort == 18000.0
    assert Limit(900.0, wall=5.0).last_resort == 5.0


# --- of real processes ---------------------------------------------------------------------------


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@needs_proc
def test_usage_counts_descendants_that_run_and_that_have_ended() -> None:
    burns = [[sys.executable, "-c", BURN.format(seconds)] for seconds in (0.3, 60)]
    code = f"import subprocess\nfor command in {burns!r}: subprocess.run(command)"  # it only waits
    with subprocess.Popen([sys.executable, "-c", code], start_new_session=True) as parent:
        try:
            assert eventually(lambda: (u := usage_of(parent.pid)) is not None and u.cpu >= 1.0)
            usage = usage_of(parent.pid)
            assert usage is not None
            assert usage.active
        finally:
            os.killpg(parent.pid, signal.SIGKILL)


@needs_proc
def test_what_sleeps_is_not_active_and_what_is_gone_has_no_usage() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        assert eventually(lambda: (u := usage_of(process.pid)) is not None and not u.active)
        process.kill()
    assert usage_of(process.pid) is None


def test_psutil_answers_where_there_is_no_proc(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(processes, "PROC", tmp_path)
    usage = usage_of(os.getpid())
    assert usage is not None
    children = psutil.Process().children(recursive=True)  # of tests before this one
    running = sum(sum(child.cpu_times()[:4]) for child in children)
    assert usage.cpu == pytest.approx(sum(os.times()[:4]) + running, abs=1.0)
    assert not usage.active
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert usage_of(os.getpid()) is None


def test_a_program_runs_to_its_end(tmp_path: Path) -> None:
    code = "import os, sys; print(os.getcwd()); print('err', file=sys.stderr); sys.exit(3)"
    done = run_program([sys.executable, "-c", code], Limit(60.0), tmp_path)
    assert (done.status, done.stdout.strip()) == (3, str(tmp_path.resolve()))
    assert done.stderr.strip() == "err"
    killed = run_program(["sh", "-c", "kill -SEGV $$"], Limit(60.0))
    assert killed.status == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("code", "limit", "overrun"),
    [
        ("import time; time.sleep(600)", Limit(60.0, idle=1.0), "hang"),
        ("while True: pass", Limit(0.5), "cpu-time"),
        ("import time; time.sleep(600)", Limit(60.0, wall=0.5), "wall-clock"),
    ],
)
def test_a_program_that_exceeds_a_limit_is_killed(code: str, limit: Limit, overrun: str) -> None:
    started = time.monotonic()
    with pytest.raises(OutOfTimeError) as caught:
        run_program([sys.executable, "-c", code], limit)
    assert caught.value.overrun.code == overrun
    assert time.monotonic() - started < WAIT


# --- waiting -------------------------------------------------------------------------------------


def test_waiting_for_a_lock_is_told_and_holding_it_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "_listeners", [])
    told: list[object] = []
    tell_waiting(told.append)

    class Lock:
        def acquire(self) -> None:
            told.append("acquired")

        def release(self) -> None:
            told.append("released")

    with held(Lock()):
        told.append("block")
    assert told == [True, "acquired", False, "block", "released"]
    told.clear()
    with pytest.raises(OSError, match="no network"), waiting():
        raise OSError("no network")
    assert told == [True, False]
