"""Native work in a child process with a time limit.

A segfault, an abort or a hang in a native library ends the child, never the run: the caller
gets an exception that names the signal, the call that was running and the end of the log.

The child speaks pickles, length first, over two pipes of its own; its standard output and
error go to a log file, so a chatty library can't garble a reply.
"""

from __future__ import annotations

import importlib
import os
import pickle
import select
import signal
import struct
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

_LENGTH = struct.Struct("!Q")
LOG_TAIL_LINES = 30
# Not `-m`: replies hold classes of this module, which would be `__main__`'s there.
_MAIN = "from poseconform.isolation.child import main; main()"
SINGLE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class ChildFailure(Exception):  # noqa: N818 - crash and timeout are kinds of it
    """The call did not return a value. `kind` is 'error', 'crash' or 'timeout'.

    Attributes:
        message: One line for a person.
        log_tail: Traceback in the child, and the end of its log.
        stage: The stage that the exception in the child named; '' if it named none.
    """

    kind = "error"

    def __init__(self, message: str, log_tail: str = "", stage: str = "") -> None:
        super().__init__(message, log_tail, stage)
        self.message = message
        self.log_tail = log_tail
        self.stage = stage

    def __str__(self) -> str:
        return self.message


class ChildCrash(ChildFailure):
    """The child died: a signal, or an exit without an answer."""

    kind = "crash"


class ChildTimeout(ChildFailure):
    """The child gave no answer within the time limit and was killed."""

    kind = "timeout"


@dataclass(frozen=True)
class _Raised:
    """An exception that a function raised in the child.

    Attributes:
        type: Name of its class.
        message: Its text.
        stage: Its attribute `stage`, by which a toolchain tells where it failed; '' without one.
        traceback: As Python prints it.
    """

    type: str
    message: str
    stage: str
    traceback: str


@dataclass(frozen=True)
class _Running:
    """A child process and this side's ends of its two pipes."""

    process: subprocess.Popen[bytes]
    requests: BinaryIO
    replies: BinaryIO


class Child:
    """A child Python process that runs functions by name.

    Args:
        log: File for the child's output; appended to.
        env: Environment variables on top of this process's.
    """

    def __init__(self, log: Path, env: dict[str, str] | None = None) -> None:
        self._log = log
        self._env = env or {}
        self._running: _Running | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def call(self, target: str, *args: Any, timeout: float) -> Any:
        """Run `module:function` in the child.

        Args:
            target: Dotted module and function, 'package.module:function'.
            args: Picklable arguments.
            timeout: Seconds; the child is killed when they have passed.

        Raises:
            ChildFailure: The function raised (its message is passed on).
            ChildCrash: The child died.
            ChildTimeout: No answer in time.
        """
        running = self._start()
        start = self._log.stat().st_size
        try:
            _send(running.requests, (target, args))
            reply = self._receive(running.replies, target, timeout)
        except (BrokenPipeError, EOFError) as error:
            status = running.process.wait()
            self.close()
            raise ChildCrash(f"{_describe_exit(status)} in {target}", self._tail(start)) from error
        if isinstance(reply, _Raised):
            message = f"{reply.type}: {reply.message}"
            raise ChildFailure(message, reply.traceback + self._tail(start), reply.stage)
        return reply[0]

    def close(self) -> None:
        """End the child; harmless when there is none."""
        if self._running is None:
            return
        for pipe in (self._running.requests, self._running.replies):
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # the child is gone already, which is what we want
        self._running.process.kill()
        self._running.process.wait()
        self._running = None

    def _start(self) -> _Running:
        if self._running is not None and self._running.process.poll() is None:
            return self._running
        self.close()
        self._log.parent.mkdir(parents=True, exist_ok=True)
        requests, to_child = os.pipe()
        from_child, replies = os.pipe()
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, str(requests), str(replies)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._env},
                pass_fds=(requests, replies),
            )
        os.close(requests)
        os.close(replies)
        to, back = os.fdopen(to_child, "wb"), os.fdopen(from_child, "rb", 0)
        self._running = _Running(process, to, back)
        return self._running

    def _receive(self, replies: BinaryIO, target: str, timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        parts = bytearray()
        size = _LENGTH.size
        while len(parts) < size:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([replies], [], [], left)[0]:
                start = max(0, self._log.stat().st_size - 4096)
                self.close()
                message = f"no answer within {timeout:g} s in {target}"
                raise ChildTimeout(message, self._tail(start))
            part = replies.read(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
            if len(parts) == _LENGTH.size:
                size += _LENGTH.unpack(parts)[0]
        return pickle.loads(memoryview(parts)[_LENGTH.size :])  # noqa: S301 - our child

    def _tail(self, start: int) -> str:
        with self._log.open("rb") as log:
            log.seek(start)
            text = log.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-LOG_TAIL_LINES:])


def _describe_exit(status: int) -> str:
    if status < 0:
        return signal.Signals(-status).name
    return f"exit status {status}"


def _send(pipe: BinaryIO, value: object) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _serve(requests: BinaryIO, replies: BinaryIO) -> None:
    """The child's loop: one request, one reply, until the parent closes its end."""
    while True:
        header = requests.read(_LENGTH.size)
        if len(header) < _LENGTH.size:
            return
        target, args = pickle.loads(requests.read(_LENGTH.unpack(header)[0]))  # noqa: S301 - our parent
        module, _, function = target.partition(":")
        try:
            reply: object = (getattr(importlib.import_module(module), function)(*args),)
        except Exception as error:  # noqa: BLE001 - the parent raises it again
            stage = str(getattr(error, "stage", ""))
            reply = _Raised(type(error).__name__, str(error), stage, traceback.format_exc())
        _send(replies, reply)


def main() -> None:
    """Serve on the two file descriptors of the command line."""
    with os.fdopen(int(sys.argv[1]), "rb") as requests, os.fdopen(int(sys.argv[2]), "wb") as out:
        _serve(requests, out)
