"""A child's process: started anew, ended with what it has started, and killed beyond a limit."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Protocol

from posedeploy.runtime.processes import POLL_SECONDS, Overrun, Watch

# Not `-m`: replies hold classes of this module, which would be `__main__`'s there.
_MAIN = "from poseconform.isolation.child import main; main()"


class Process(Protocol):
    """A process that leads a group of its own, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """Its exit status, when it has ended."""


def spawn(
    connection: int, log: int, env: Mapping[str, str], modules: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """A fresh process that serves on a descriptor, and writes its output to another.

    It has the environment variables `env` on top of this process's. With `modules` it imports them
    and forks a child for each request, see `isolation.forking`.
    """
    return subprocess.Popen(
        [sys.executable, "-c", _MAIN, str(connection), str(os.getpid()), *modules],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        env={**os.environ, **env}, pass_fds=(connection,),
        process_group=0,  # so that its own children can be ended with it
    )  # fmt: skip


def end_family(process: Process) -> None:
    """Kill a process and what it has started and not put into a group of its own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def end_connected(process: Process | None, connection: Connection | None) -> None:
    """Close the connection to a process and end it with its family; harmless without them."""
    if connection is not None:
        connection.close()
    if process is not None:
        end_family(process)
        process.wait()


class Guard(threading.Thread):
    """Kills a process that exceeds its limit.

    A thread, for a reply that stops half-way blocks `recv`, and `poll` does not see that.
    """

    def __init__(self, process: Process, watch: Watch) -> None:
        super().__init__(daemon=True)
        self.watch = watch
        self.overrun: Overrun | None = None
        self._process, self._stopped = process, threading.Event()

    def run(self) -> None:
        while self.overrun is None and not self._stopped.wait(POLL_SECONDS):
            self.overrun = self.watch.overrun()
        if self.overrun is not None:
            end_family(self._process)

    def stop(self) -> None:
        """The process has answered or ended."""
        self._stopped.set()
        self.join()
