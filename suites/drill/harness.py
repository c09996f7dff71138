"""What every group of the drill shares: attempts, their outcomes, and the processes that run them.

An attempt runs in a child process that serves many, so that imports are paid for once, and that
is replaced after a crash or a hang. It is decided by the seed, its group and its index alone.
"""

from __future__ import annotations

import importlib
import io
import os
import queue
import random
import re
import resource
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from poseconform.isolation.child import SINGLE_THREAD, Child, ChildFailure
from posedeploy.runtime.processes import Limit

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
MOST_MEMORY = 2 * GIB  # that one attempt may allocate
HANG_SECONDS = 60.0
_NOTE = "attempt: "  # begins a line of a child's log
# How libraries word an allocation that failed: beyond `MOST_MEMORY` no more is to be had here.
_NO_MEMORY = re.compile(
    r"bad.?alloc|MemoryError|(unable|failed) to allocate|insufficient memory|out of memory"
    r"|(cannot|can't) allocate|not enough memory",
    re.IGNORECASE,
)


class Outcome(StrEnum):
    """How an attempt ended; those from `TRACEBACK` on are findings."""

    REFUSED = "refused"  # one clear error
    SAME = "same"  # the right result, or the state that is promised
    DIFFERENT = "different"  # another result, in a class that nothing claims to detect
    LIMIT = "limit"  # what a file may still do, and docs/trust.md says so; the detail says why
    TRACEBACK = "traceback"
    CRASH = "crash"
    HANG = "hang"  # longer than `HANG_SECONDS`
    MEMORY = "memory"  # more than `MOST_MEMORY`
    SILENT = "silent"  # another result, in a class that is claimed to be detected
    BROKEN = "broken"  # a promise that is not kept; the detail says which

    @property
    def is_finding(self) -> bool:
        """True for a fault of the project."""
        return self not in {Outcome.REFUSED, Outcome.SAME, Outcome.DIFFERENT, Outcome.LIMIT}


@dataclass(frozen=True)
class Result:
    """The outcome of one attempt; `kind` is what was done, `detail` what came of it."""

    outcome: Outcome
    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Attempt:
    """What an attempt is given: its index, its randomness, shared folders, a folder of its own."""

    index: int
    rng: random.Random
    arena: Path  # made once for the run: models, see `suites.drill.models`
    scratch: Path  # empty, removed afterwards
    kinds: list[str] = field(default_factory=list)

    def note(self, kind: str) -> str:
        """Note what the attempt does, for the result of one that ends otherwise than it should."""
        self.kinds.append(kind)
        print(f"{_NOTE}{kind!a}", file=sys.__stdout__, flush=True)
        return kind


@dataclass(frozen=True)
class KnownLimit:
    """An outcome that is `LIMIT` and no finding, because docs/trust.md states it."""

    outcome: Outcome
    kind: str  # expression that the attempt's kind begins with
    reason: str


@dataclass(frozen=True)
class Group:
    """A row of the drill's table.

    Attributes:
        name: Its name on the command line and in the table.
        full: Attempts of a full run.
        few: Attempts of the short slice.
        target: 'module:function' of an attempt: `Attempt` -> `Result`.
        about: What is attempted, in a few words.
        limited: True if memory is limited and measured; else the attempts start processes.
        seconds: Limit of one attempt.
        limits: What of its attempts is no finding.
    """

    name: str
    full: int
    few: int
    target: str
    about: str
    limited: bool = True
    seconds: float = HANG_SECONDS
    limits: tuple[KnownLimit, ...] = ()

    def judged(self, result: Result) -> Result:
        """The result, as `LIMIT` where `limits` has it."""
        for limit in self.limits:
            if limit.outcome is result.outcome and re.match(limit.kind, result.kind.strip("'\"")):
                detail = f"{limit.outcome}: {limit.reason}"
                return replace(result, outcome=Outcome.LIMIT, detail=detail)
        return result


@dataclass(frozen=True)
class Done:
    """An attempt that was made."""

    group: str
    index: int
    result: Result
    seconds: float


def _status(field: str) -> int:
    """A size of this process in bytes, from Linux's /proc."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Raise a MemoryError after the block if it took more than `MOST_MEMORY`.

    A little above it, allocations fail, so that the machine is safe.
    """
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + MOST_MEMORY + GIB, before[1]))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    resident = _status("VmRSS")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    if (taken := _status("VmHWM") - resident) > MOST_MEMORY:
        raise MemoryError(f"{taken / GIB:.1f} GiB were taken")


def attempt(target: str, index: int, seed: int, arena: str, scratch: str, limited: bool) -> Result:
    """Make one attempt, in a child process."""
    module, _, function = target.partition(":")
    act: Callable[[Attempt], Result] = getattr(importlib.import_module(module), function)
    rng = random.Random(f"{seed} {target} {index}")  # noqa: S311 - nothing secret about it
    given = Attempt(index, rng, Path(arena), Path(scratch))
    try:
        if not limited:
            return act(given)
        with _limited_memory():
            result = act(given)
    except Exception as error:  # noqa: BLE001 - an exception that leaves the project is a finding
        text = f"{type(error).__name__}: {error}"
        memory = isinstance(error, MemoryError) or is_about_memory(text)
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if memory else f" ({Path(place.filename).name}:{place.lineno})"
        outcome = Outcome.MEMORY if memory else Outcome.TRACEBACK
        return Result(outcome, " ".join(given.kinds), f"{text[:300]}{where}")
    if result.outcome in {Outcome.REFUSED, Outcome.BROKEN} and is_about_memory(result.detail):
        return replace(result, outcome=Outcome.MEMORY)
    return result


def is_about_memory(text: str) -> bool:
    """True for the words of an allocation that failed."""
    return bool(_NO_MEMORY.search(text))


def cli(*words: str) -> tuple[int, str]:
    """Run `posedeploy` in this process: its exit code, and what it printed, both streams.

    Exceptions that would be a traceback in a terminal are raised.
    """
    from posedeploy.cli import main

    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors) for errors in _STREAMS)
    status: object = 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(words))
        except SystemExit as ended:
            status = ended.code
    printed = []
    for stream in (out, err):
        stream.flush()
        printed.append(stream.buffer.getvalue().decode("utf-8", "replace"))
    return int(status) if isinstance(status, int) else 1, "".join(printed)


_STREAMS = ("strict", "backslashreplace")  # as Python opens standard output and error


class Drill:
    """Makes attempts in parallel child processes."""

    def __init__(self, seed: int, arena: Path, logs: Path, workers: int) -> None:
        self.seed, self.arena, self.logs, self.workers = seed, arena, logs, workers

    def child(self, name: str) -> Child:
        """A child process that finds the suites wherever it runs."""
        paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
        env = {**SINGLE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return Child(self.logs / f"{name}.log", env)

    def run(
        self, tasks: Sequence[tuple[Group, int]], on_done: Callable[[Done], object]
    ) -> list[Done]:
        """All attempts; `on_done` is called as each ends, from several threads."""
        waiting: queue.SimpleQueue[tuple[Group, int]] = queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        done: list[Done] = []

        def work(number: int) -> None:
            with self.child(f"worker-{number}") as child:
                while True:
                    try:
                        group, index = waiting.get_nowait()
                    except queue.Empty:
                        return
                    one = self.attempt(child, group, index)
                    if one.result.outcome.is_finding and group.limited:
                        one = self._again(one, group, number)
                    done.append(one)
                    on_done(one)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        order = [group.name for group, _ in tasks]
        return sorted(done, key=lambda one: (order.index(one.group), one.index))

    def attempt(self, child: Child, group: Group, index: int) -> Done:
        """Make one attempt in a child, and judge how the child took it."""
        started = time.monotonic()
        limit = Limit(group.seconds, idle=group.seconds)
        arguments = group.target, index, self.seed, str(self.arena)
        try:
            with tempfile.TemporaryDirectory(
                prefix="drill-", ignore_cleanup_errors=True
            ) as scratch:
                result = child.call(
                    f"{__name__}:attempt",
                    *arguments,
                    scratch,
                    group.limited,
                    timeout=limit,
                )
        except ChildFailure as failure:
            outcomes = {"crash": Outcome.CRASH, "timeout": Outcome.HANG}
            outcome = outcomes.get(failure.kind, Outcome.TRACEBACK)
            log = failure.log_tail.strip().split("\n")
            kinds = [line.removeprefix(_NOTE) for line in log if line.startswith(_NOTE)]
            result = Result(outcome, "".join(kinds[-1:]), f"{failure.message}: {log[-1][:200]}")
        return Done(group.name, index, group.judged(result), round(time.monotonic() - started, 3))

    def _again(self, one: Done, group: Group, number: int) -> Done:
        """The same attempt in a fresh process: an earlier one may have damaged the first."""
        with self.child(f"again-{number}") as child:
            second = self.attempt(child, group, one.index)
        if second.result.outcome.is_finding:
            return second
        first = one.result
        detail = f"not in a fresh process, but after other attempts: {first.detail}"
        return replace(one, result=replace(first, detail=detail))


def tail(text: str) -> str:
    """The end of what a program printed, on one line."""
    return " ".join(text.split())[-300:]
