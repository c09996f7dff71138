"""A child's crash, hang or error costs the call, never this process."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from poseconform.isolation.child import Child, ChildCrash, ChildFailure, ChildTimeout

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
def chatter():
    os.write(1, b"noise on file descriptor 1\\n" * 1000)
    return "clean"
def big(n): return bytes(n)
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
    with pytest.raises(ChildTimeout, match=r"within 0\.5 s"):
        child.call("child_helpers:hang", timeout=0.5)
    assert time.monotonic() - started < 30
    assert child.call("child_helpers:add", 1, 1, timeout=60) == 2


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
