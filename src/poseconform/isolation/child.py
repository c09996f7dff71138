"""Native work in a child process with a time limit.

A segfault, an abort or a hang in a native library ends the child, never the run: the caller
gets an exception that names the signal, the call that was running and the end of the log.

Requests and replies go over a socket pair of their own; the child's standard output and error go
to a log file, so that a library's output cannot corrupt a reply.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

LOG_TAIL_LINES = 30
# Not `-m`: replies hold classes of this module, which would be `__main__`'s there.
_MAIN = "from poseconform.isolation.child import main; main()"
SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class ChildFailure(Exception):  # noqa: N818 - crash and timeout are kinds of it
    """The call did not return a value. `kind` is 'error', 'crash' or 'timeout'.

    Attributes:
        message: One line for a person.
        log_tail: Traceback in the child, and the end of its log.
        stage: The attribute `stage` of the exception in the child; '' without one.
    """

    kind = "error"

    def __init__(self, message: str, log_tail: str = "", stage: str = "") -> None:
        super().__init__(message, log_tail, stage)
        self.message, self.log_tail, self.stage = message, log_tail, stage

    def __str__(self) -> str:
        return self.message


class ChildCrash(ChildFailure):
    """The child died: a signal, or an exit without an answer."""

    kind = "crash"


class ChildTimeout(ChildFailure):
    """The child gave no answer within the time limit and was killed."""

    kind = "timeout"


class Child:
    """A child Python process that runs functions by name; its output is appended to `log`.

    It has the environment variables `env` on top of this process's.
    """

    def __init__(self, log: Path, env: dict[str, str] | None = None) -> None:
        self._log = log
        self._env = env or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def call(self, target: str, *args: Any, timeout: float) -> Any:
        """Run 'package.module:function' in the child, with picklable arguments.

        The child is killed after `timeout` seconds.

        Raises:
            ChildFailure: The function raised (its message is passed on).
            ChildCrash: The child died.
            ChildTimeout: No answer in time.
        """
        process, connection = self._start()
        start = self._log.stat().st_size
        # a timer, for a reply that stops half-way blocks `recv`, and `poll` does not see that
        deadline = time.monotonic() + timeout
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            connection.send((target, args))
            reply = connection.recv()
        except (BrokenPipeError, ConnectionResetError, EOFError) as error:
            status = process.wait()
            self.close()
            if time.monotonic() >= deadline:
                message = f"no answer within {timeout:g} s in {target}"
                raise ChildTimeout(message, self._tail(max(0, start - 4096))) from error
            end = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            raise ChildCrash(f"{end} in {target}", self._tail(start)) from error
        finally:
            timer.cancel()
        if isinstance(reply, ChildFailure):
            raise ChildFailure(reply.message, reply.log_tail + self._tail(start), reply.stage)
        return reply[0]

    def close(self) -> None:
        """End the child; harmless when there is none."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        if self._process is not None and self._connection is not None:
            if self._process.poll() is None:
                return self._process, self._connection
            self.close()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._connection, theirs = Pipe()
        with theirs, self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **self._env}, pass_fds=(theirs.fileno(),),
            )  # fmt: skip
        return self._process, self._connection

    def _tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def main() -> None:
    """Serve on the socket of the command line: one request, one reply, until it is closed."""
    with Connection(int(sys.argv[1])) as connection:
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
                stage = str(getattr(error, "stage", ""))
                reply = ChildFailure(message, traceback.format_exc(), stage)
            connection.send(reply)
