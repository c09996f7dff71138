"""Native work in a child process with limits of time.

A segfault, an abort or a hang in a native library ends the child, never the run: the caller
gets an exception that names the signal, the call that was running and the end of the log.

Requests and replies go over a socket pair of their own; the child's standard output and error go
to a log file, so that a library's output cannot corrupt a reply. A child ends with its parent.
"""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from poseconform.isolation.forking import ForkServer, serve_forks
from poseconform.isolation.processes import Guard, Process, end_connected, spawn
from posedeploy.runtime.parent import end_with_parent
from posedeploy.runtime.processes import Limit, Usage, Watch, tell_waiting, usage_of

LOG_TAIL_LINES = 30
SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class ChildFailure(Exception):  # noqa: N818 - crash and timeout are kinds of it
    """The call did not return a value. `kind` is 'error', 'crash' or 'timeout'.

    Attributes:
        message: One line for a person.
        code: Of a timeout, the limit: 'hang', 'cpu-time' or 'wall-clock'; '' for the others.
        log_tail: Traceback in the child, and the end of its log.
        stage: The attribute `stage` of the exception in the child; '' without one.
        unavailable: The attribute `unavailable` of it, an availability code; '' without one.
    """

    kind = "error"
    code = ""

    def __init__(
        self, message: str, log_tail: str = "", stage: str = "", unavailable: str = ""
    ) -> None:
        super().__init__(message, log_tail, stage, unavailable)
        self.message, self.log_tail, self.stage = message, log_tail, stage
        self.unavailable = unavailable

    def __str__(self) -> str:
        return self.message


class ChildCrash(ChildFailure):
    """The child died: a signal, or an exit without an answer."""

    kind = "crash"


class ChildTimeout(ChildFailure):
    """The child exceeded a limit before it answered, and was killed."""

    kind = "timeout"

    def __init__(self, message: str, log_tail: str = "", stage: str = "", code: str = "") -> None:
        super().__init__(message, log_tail, stage)
        self.code = code


@dataclass(frozen=True)
class Waiting:
    """Before its reply, a child sends that it waits for another process, and that it is over."""

    begins: bool


class Child:
    """A child Python process that runs functions by name; its output is appended to `log`.

    It has the environment variables `env` on top of this process's. It ends with the thread that
    makes the first call. `usage` reads what a process has used. With a `server` it is forked, and
    has that one's environment.
    """

    def __init__(
        self,
        log: Path,
        env: dict[str, str] | None = None,
        usage: Callable[[int], Usage | None] = usage_of,
        server: ForkServer | None = None,
    ) -> None:
        self._log = log
        self._env = env or {}
        self._usage = usage
        self._server = server
        self._process: Process | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, target: str, *args: Any, timeout: float | Limit) -> Any:
        """Run 'package.module:function' in the child, with picklable arguments.

        The child is killed when it exceeds `timeout`; a number are seconds of its CPU time.

        Raises:
            ChildFailure: The function raised (its message is passed on).
            ChildCrash: The child died.
            ChildTimeout: It exceeded a limit.
        """
        process, connection = self._start()
        start = self._log.stat().st_size
        limit = timeout if isinstance(timeout, Limit) else Limit(timeout)
        guard = Guard(process, Watch(limit, lambda: self._usage(process.pid)))
        guard.start()
        try:
            connection.send((target, args))
            while isinstance(reply := connection.recv(), Waiting):
                guard.watch.waiting = reply.begins
        except (BrokenPipeError, ConnectionResetError, EOFError) as error:
            status = process.wait()
            self.close()
            if (overrun := guard.overrun) is not None:
                message, tail = f"{overrun.message}, in {target}", self._tail(max(0, start - 4096))
                raise ChildTimeout(message, tail, code=overrun.code) from error
            end = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            raise ChildCrash(f"{end} in {target}", self._tail(start)) from error
        finally:
            guard.stop()
        if guard.overrun is not None:  # killed just after it answered
            self.close()
        if isinstance(reply, ChildFailure):
            tail = reply.log_tail + self._tail(start)
            raise ChildFailure(reply.message, tail, reply.stage, reply.unavailable)
        return reply[0]

    def close(self) -> None:
        """End the child; harmless when there is none."""
        end_connected(self._process, self._connection)
        self._process = self._connection = None

    def _start(self) -> tuple[Process, Connection]:
        if self._process is not None and self._connection is not None:
            if self._process.poll() is None:
                return self._process, self._connection
            self.close()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._connection, theirs = Pipe()
        with theirs, self._log.open("ab") as log:
            handles = theirs.fileno(), log.fileno()
            started = self._server.start(*handles) if self._server else spawn(*handles, self._env)
            self._process = started
        return self._process, self._connection

    def _tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def main() -> None:
    """Serve on the socket of the command line: one request, one reply, until it is closed.

    With modules on the command line, import them, and serve so in a fork for each request.
    """
    number, parent, *modules = sys.argv[1:]
    end_with_parent(int(parent))
    connection: Connection | None = Connection(int(number))
    if modules and connection:
        connection = serve_forks(connection, modules)
    if connection:
        _serve(connection)


def _serve(connection: Connection) -> None:
    sending = threading.Lock()  # any thread may begin to wait

    def send(message: object) -> None:
        with sending:
            connection.send(message)

    tell_waiting(lambda begins: send(Waiting(begins)))
    with connection:
        while True:
            try:
                target, args = connection.recv()
            except EOFError:
                return
            module, _, function = target.partition(":")
            try:
                reply: object = (getattr(importlib.import_module(module), function)(*args),)
            except Exception as error:  # noqa: BLE001 - the parent raises it again
                message = f"{type(error).__name__}: {error}"
                names = [str(getattr(error, name, "")) for name in ("stage", "unavailable")]
                reply = ChildFailure(message, traceback.format_exc(), *names)
            send(reply)
