"""A process ends with its parent, whatever it is busy with."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from posedeploy.runtime import parent
from posedeploy.runtime.parent import end_with_parent

WAIT = 20.0  # a loaded machine; it takes some hundredths of a second
BUSY = "sum(range(10**13))"  # holds the GIL: no thread of Python's runs beside it
SCRIPT = str(Path(parent.__file__))
linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")


def assert_ends_with_its_parent(command: str) -> None:
    """Kill a process that has started a command, when the command has printed its pid."""
    start = f"import os, subprocess, sys, time\nsubprocess.Popen({command})\ntime.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        with pytest.raises(psutil.TimeoutExpired):
            child.wait(0.3)
        process.kill()
    try:
        child.wait(WAIT)
    finally:
        if child.is_running():
            child.kill()


def python(arguments: str, then: str) -> str:
    """A Python program that ends with its parent, prints its pid and goes on."""
    return (
        f"import os, sys, time; sys.path[:0] = {sys.path!r}\n"
        "from posedeploy.runtime.parent import end_with_parent\n"
        f"end_with_parent(os.getppid(){arguments}); print(os.getpid(), flush=True)\n{then}"
    )


@linux
def test_a_python_process_that_is_busy_ends_with_its_parent() -> None:
    assert_ends_with_its_parent(f"[sys.executable, '-c', {python('', BUSY)!r}]")


@linux
def test_any_program_that_the_script_becomes_ends_with_its_parent() -> None:
    program = "'sh', '-c', 'echo $$; exec sleep 600'"
    assert_ends_with_its_parent(
        f"[sys.executable, '-I', '-S', {SCRIPT!r}, str(os.getpid()), {program}]"
    )


def test_elsewhere_a_thread_looks_for_the_parent() -> None:
    code = python(", 'darwin'", "while True: time.sleep(0.01)")
    assert_ends_with_its_parent(f"[sys.executable, '-c', {code!r}]")


@linux
def test_the_script_is_the_program() -> None:
    echo = [sys.executable, "-I", "-S", SCRIPT, str(os.getpid()), "sh", "-c", 'echo "$1"; exit 4']
    done = subprocess.run([*echo, "sh", "a b"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "a b\n")


@linux
def test_a_parent_that_has_ended_already_is_noticed() -> None:
    another = str(os.getpid() + 1)  # not the parent
    command = [sys.executable, "-I", "-S", SCRIPT, another, "echo", "runs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


def test_this_process_is_not_ended() -> None:
    end_with_parent(os.getppid(), "darwin")
    time.sleep(2 * parent.POLL_SECONDS)
