"""A process that has imported modules, and children of it that need not import them again.

A forked child has what its parent had after the imports, and nothing of other children: what a
fault leaves behind ends with the child. A parent has one thread, for a lock that another thread
holds while the process is forked is never released in the child.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import cast

from poseconform.isolation.processes import Guard, Process, end_connected, spawn
from posedeploy.runtime.parent import end_with_parent
from posedeploy.runtime.processes import Limit, Watch, usage_of

LOG = logging.getLogger(__name__)
IMPORTS = Limit(120.0)  # a cold disk takes longer, and is not counted
LOST = (BrokenPipeError, ConnectionResetError, EOFError)  # the other process has ended
_FORK = 0  # in the place of a child's pid: the request for a new one
_THREADS = Path("/proc/self/task")


@dataclass
class Forked:
    """A child that another process has forked, and waits for."""

    pid: int
    parent: Connection
    status: int | None = None

    def poll(self) -> int | None:
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        return cast("int", self._wait(0))

    def _wait(self, options: int) -> int | None:
        if self.status is None:
            try:
                self.parent.send((self.pid, options))
                self.status = self.parent.recv()
            except (*LOST, OSError):  # the parent was killed or closed, and its children with it
                self.status = -signal.SIGKILL
        return self.status


class ForkServer:
    """Starts processes of children: forked from one that has imported `modules`.

    Where that is not possible they are fresh ones: on other systems than Linux, and where the
    imports fail, take longer than `limit` or leave more than one thread, which is logged once.
    It ends with the thread that starts the first child, and its children with it.
    """

    def __init__(
        self, modules: Sequence[str], log: Path, env: Mapping[str, str], limit: Limit = IMPORTS
    ) -> None:
        self._modules, self._log, self._env, self._limit = tuple(modules), log, env, limit
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self._forks = sys.platform == "linux"

    def start(self, connection: int, log: int) -> Process:
        """A child that serves on a descriptor, and writes its output to another."""
        if self._forks:
            try:
                return self._fork(connection, log)
            except RuntimeError as error:
                self._give_up(str(error))
            except LOST:
                self._give_up(f"it ended, see {self._log}")
        return spawn(connection, log, self._env)

    def close(self) -> None:
        """End it and its children; harmless when it does not run."""
        end_connected(self._process, self._connection)
        self._process = self._connection = None

    def _give_up(self, reason: str) -> None:
        LOG.warning(
            "Child processes are not forked from one that imports %s, and take longer: %s",
            ", ".join(self._modules), reason,
        )  # fmt: skip
        self._forks = False
        self.close()

    def _fork(self, connection: int, log: int) -> Forked:
        if self._process is None or self._connection is None:
            self._connection, theirs = Pipe()
            with theirs, self._log.open("ab") as file:
                self._process = spawn(theirs.fileno(), file.fileno(), self._env, self._modules)
        parent = self._process
        guard = Guard(parent, Watch(self._limit, lambda: usage_of(parent.pid)))
        guard.start()
        try:
            self._connection.send((_FORK, 0))
            for handle in (connection, log):
                send_handle(self._connection, handle, parent.pid)
            reply = self._connection.recv()
        finally:
            guard.stop()
        if isinstance(reply, str):
            raise RuntimeError(reply)
        return Forked(reply, self._connection)


def serve_forks(connection: Connection, modules: Sequence[str]) -> Connection | None:
    """Import modules and fork a child for each request: in the child, its own connection.

    In the parent it returns None, when the connection is closed.
    """
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # a child's collections leave its parent's objects alone, which so stay shared
    threads = len(os.listdir(_THREADS))
    reason = f"they leave {threads} threads" if threads > 1 else ""
    while True:
        try:
            pid, options = connection.recv()
        except LOST:
            return None
        if pid != _FORK:
            ended, status = os.waitpid(pid, options)
            connection.send(os.waitstatus_to_exitcode(status) if ended else None)
            continue
        theirs, log = recv_handle(connection), recv_handle(connection)
        parent, pid = os.getpid(), -1 if reason else os.fork()
        if pid == 0:
            connection.close()
            return _begin(theirs, log, parent)
        if pid > 0:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)  # here as well: it may be killed before it does so
        os.close(theirs)
        os.close(log)
        connection.send(reason or pid)


def _begin(connection: int, log: int, parent: int) -> Connection:
    """What a fresh child has from its start: a group, an end with its parent, a log."""
    os.setpgid(0, 0)
    end_with_parent(parent)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    os.close(log)
    return Connection(connection)
