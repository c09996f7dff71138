"""Child processes within limits that count what they compute, not how long a busy machine takes.

A child that computes is ended by the CPU time that it and its own children use; one that hangs,
by the time for which it uses none. Time on the clock is only the last resort.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.5
# Without any CPU use. What is honest waits for a processor or a disk, which is seen. A cell hangs
# twice, in its run and in the client: that costs less than a minute.
HANG_SECONDS = 25.0
IDLE_SHARE = 0.01  # of a processor: what polls for something that never comes uses 0.1 %
TICKS = 0.05  # CPU seconds: five ticks of the kernel's counters, which one interrupt may move
WALL_SECONDS = 3600.0  # the last resort is at least this,
WALL_FACTOR = 20.0  # and so many times the CPU limit: a process may get a twentieth of a CPU
# States of a thread in /proc: running or waiting for a processor, waiting for a disk
ACTIVE = frozenset("RD")
PROC = Path("/proc")
_PARENT_SCRIPT = Path(__file__).with_name("parent.py")


@dataclass(frozen=True)
class Limit:
    """What a child may take: seconds of CPU, and seconds without any.

    `wall` are seconds on the clock, by default as `WALL_SECONDS` and `WALL_FACTOR` say.
    """

    cpu: float
    idle: float = HANG_SECONDS
    wall: float = 0.0

    @property
    def last_resort(self) -> float:
        """Seconds on the clock."""
        return self.wall or max(WALL_SECONDS, WALL_FACTOR * self.cpu)


@dataclass(frozen=True)
class Usage:
    """CPU seconds of a process and its descendants; `active` if a thread of them wants to run."""

    cpu: float
    active: bool


@dataclass(frozen=True)
class Overrun:
    """A limit that was exceeded: 'hang', 'cpu-time' or 'wall-clock', and a line for a person."""

    code: str
    message: str


class OutOfTimeError(RuntimeError):
    """A program was ended because it exceeded a limit."""

    def __init__(self, overrun: Overrun) -> None:
        super().__init__(overrun.message)
        self.overrun = overrun


class Watch:
    """Compares what a child uses, from now on, with a limit.

    Args:
        usage: What the child has used so far; None if it cannot be read, and then time on the
            clock counts as CPU time.
        clock: Seconds.

    Attributes:
        waiting: The child waits for another process: time does not count.
    """

    def __init__(
        self,
        limit: Limit,
        usage: Callable[[], Usage | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._usage, self._clock = limit, usage, clock
        self.waiting = False
        self._last, self._elapsed, self._idle = clock(), 0.0, 0.0
        first = usage()
        self._first = self._mark = first.cpu if first else 0.0

    def overrun(self) -> Overrun | None:
        """The limit that is exceeded by now; to be called every `POLL_SECONDS` or so.

        A longer gap, in which this process was stopped or did not get to run, counts as two polls.
        """
        now = self._clock()
        step = 0.0 if self.waiting else min(now - self._last, 2 * POLL_SECONDS)
        self._last = now
        self._elapsed += step
        self._idle += step
        usage = self._usage() or Usage(self._elapsed, active=True)
        used = usage.cpu - self._mark
        if usage.active or self.waiting or used >= max(TICKS, IDLE_SHARE * self._idle):
            self._idle, self._mark = 0.0, usage.cpu
        return self._exceeded(usage.cpu - self._first)

    def _exceeded(self, cpu: float) -> Overrun | None:
        limit = self._limit
        if cpu > limit.cpu:
            text = f"timeout: still computing after {cpu:.3g} s of CPU (limit {limit.cpu:g} s)"
            return Overrun("cpu-time", text)
        if self._idle > limit.idle:
            text = f"hang: no CPU used for {self._idle:.3g} s, after {cpu:.3g} s of CPU"
            return Overrun("hang", text)
        if self._elapsed > limit.last_resort:
            text = f"timeout: no answer within {limit.last_resort:g} s, in {cpu:.3g} s of CPU"
            return Overrun("wall-clock", text)
        return None


def usage_of(pid: int) -> Usage | None:
    """What a process and its descendants have used; None where that cannot be read.

    Linux tells it in /proc, other systems tell it to psutil, and without the states of threads.
    """
    return _usage_in_proc(pid) if (PROC / "self" / "stat").is_file() else _usage_by_psutil(pid)


def _usage_in_proc(pid: int) -> Usage | None:
    ticks, active, children = 0, False, defaultdict(list)
    stats: dict[int, list[str]] = {}
    for entry in os.listdir(PROC):
        if entry.isdecimal() and (fields := _stat(PROC / entry / "stat")):
            stats[int(entry)] = fields
            children[int(fields[1])].append(int(entry))
    if pid not in stats:
        return None
    family = [pid]
    for member in family:  # grows while it is read
        family += children[member]
        # proc(5): utime, stime, and those of children that have ended
        ticks += sum(int(field) for field in stats[member][11:15])
        active = active or any(state in ACTIVE for state in _thread_states(member))
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), active)


def _stat(path: Path) -> list[str]:
    """The fields of a `stat` file from the state on; empty if the process has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []


def _thread_states(pid: int) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for thread in os.listdir(PROC / str(pid) / "task"):
            yield from _stat(PROC / str(pid) / "task" / thread / "stat")[:1]


def _usage_by_psutil(pid: int) -> Usage | None:
    try:
        import psutil
    except ImportError:  # an environment for running alone
        return None
    cpu = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            cpu += sum(member.cpu_times()[:4])
    return Usage(cpu, active=False)


@dataclass(frozen=True)
class Ended:
    """How a program ended; `status` is negative for the signal that ended it."""

    status: int
    stdout: str
    stderr: str


def ending_with_this(command: Sequence[str]) -> list[str]:
    """A command whose program ends when the thread of this process that starts it does (on Linux).

    A program that cannot be started then ends with status 1.
    """
    tie = (sys.executable, "-I", "-S", str(_PARENT_SCRIPT), str(os.getpid()))
    return [*(tie if sys.platform == "linux" else ()), *command]


def run_program(
    command: Sequence[str],
    limit: Limit,
    cwd: Path | None = None,
    usage: Callable[[int], Usage | None] = usage_of,
) -> Ended:
    """Run a program to its end, without input; it ends with this process (on Linux).

    Raises:
        OutOfTimeError: It exceeded a limit, and was killed.
        OSError: It could not be started; on Linux it then ends with status 1.
    """
    with subprocess.Popen(
        ending_with_this(command), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, errors="replace",
    ) as process:  # fmt: skip
        watch = Watch(limit, lambda: usage(process.pid))
        while True:
            try:
                stdout, stderr = process.communicate(timeout=POLL_SECONDS)
                return Ended(process.returncode, stdout, stderr)
            except subprocess.TimeoutExpired:
                overrun = watch.overrun()
                if overrun is not None:
                    process.kill()
                    raise OutOfTimeError(overrun) from None
            except BaseException:
                process.kill()
                raise


# What a child process tells its parent, when it begins to wait (True) and when it has ended.
_listeners: list[Callable[[bool], object]] = []


def tell_waiting(listener: Callable[[bool], object]) -> None:
    """Have every `waiting` of this process told to its parent."""
    _listeners.append(listener)


@contextmanager
def waiting() -> Iterator[None]:
    """The block waits for another process or a network, which is not a hang."""
    for tell in _listeners:
        tell(True)
    try:
        yield
    finally:
        for tell in _listeners:
            tell(False)


@contextmanager
def held(lock: Any) -> Iterator[None]:
    """Hold a `filelock` lock for the block; the time until it is free is `waiting`.

    A `filelock.Timeout` if it is not free within the lock's own timeout.
    """
    with waiting():
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
