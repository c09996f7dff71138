"""Stages on threads: while one item is worked on, the next is read and the one before written.

For work that leaves Python's lock: OpenCV's functions and backends do. Knows nothing of poses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from threading import Condition, Thread
from typing import Any

AHEAD = 4  # items that wait before each stage
PATIENCE = 2.0  # seconds that a stopped stage may take to end what it is doing


class _ClosedError(Exception):
    """The other end takes no more."""


class _Channel:
    """A queue of at most `size` items between two threads, which either of them can end."""

    def __init__(self, size: int, *, newest: bool = False) -> None:
        self._items: deque[Any] = deque()
        self._size, self._newest = size, newest
        self._changed = Condition()
        self._ended = self._closed = False
        self._error: BaseException | None = None

    def put(self, item: Any) -> None:
        """Add an item; a full queue is waited for, or with `newest` loses its oldest."""
        with self._changed:
            if self._newest and len(self._items) == self._size:
                self._items.popleft()
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                raise _ClosedError
            self._items.append(item)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more items come, because of `error` if there is one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """Say that no more items are taken; those that wait are dropped."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Generator[Any, None, None]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._closed)
                if not self._items:
                    if self._error is not None and not self._closed:
                        raise self._error
                    return
                item = self._items.popleft()
                self._changed.notify_all()
            yield item


class Stream(Iterator[Any]):
    """What the stages make of each item, in order; each stage, and the source, has a thread.

    A stage may be a function that only one thread may call. To stop before the end, close it:
    `with contextlib.closing(Stream(…)) as results`.
    """

    def __init__(
        self,
        source: Iterable[Any],
        stages: Sequence[Callable[[Any], Any]] = (),
        *,
        ahead: int = AHEAD,
        newest: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        """Start nothing before the first result is asked for.

        Args:
            source: Iterated over in a thread; a generator is closed there.
            stages: Each is called with what the one before returned.
            ahead: Most items that wait before a stage, and before the caller: together with those
                that are worked on, there are never more than `(ahead + 1) * (len(stages) + 1)`
                and the caller's. 0: no threads, one item after the other.
            newest: Drop the oldest items that wait for the first stage, so that the source never
                waits; for sources that cannot, such as cameras.
            patience: Seconds to wait, when it is stopped, for each thread to end the item it works
                on.
        """
        self._source, self._stages, self._patience = source, stages, patience
        self._channels = [
            _Channel(1 if newest and i == 0 else ahead, newest=newest and i == 0)
            for i in range(len(stages) + 1)
        ]
        self._stopped = False
        self._results = self._from_threads() if ahead else self._one_after_the_other()

    def __next__(self) -> Any:
        """The next result.

        Raises:
            Exception: What the source or a stage raised, after the results of the items before.
        """
        return next(self._results)

    def stop(self) -> None:
        """End the iteration after the results that the caller has.

        A signal handler may call it while the main thread waits for a result.
        """
        self._stopped = True
        self._channels[-1].close()

    def close(self) -> None:
        """End the threads; to be called by the thread that iterates."""
        self._results.close()

    def _one_after_the_other(self) -> Generator[Any, None, None]:
        for item in self._source:
            result = item
            for stage in self._stages:
                result = stage(result)
            if self._stopped:
                return
            yield result

    def _from_threads(self) -> Generator[Any, None, None]:
        channels = self._channels
        work = [
            (self._source, None, channels[0]),
            *zip(channels, self._stages, channels[1:], strict=False),
        ]
        threads = [Thread(target=_run, args=args, name="stream", daemon=True) for args in work]
        for thread in threads:
            thread.start()
        try:
            yield from channels[-1]
        finally:
            for channel in channels:
                channel.close()
            for thread in threads:
                thread.join(self._patience)


def _run(items: Iterable[Any], stage: Callable[[Any], Any] | None, into: _Channel) -> None:
    """In a thread: pass items through one stage."""
    error: BaseException | None = None
    iterator = iter(items)
    try:
        for item in iterator:
            into.put(item if stage is None else stage(item))
    except _ClosedError:
        pass  # whoever closed it knows
    except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
        error = raised
    finally:
        if isinstance(iterator, Generator):
            iterator.close()
        into.end(error)
