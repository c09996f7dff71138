"""Stages on threads: order, bounds, errors of each stage, and stopping."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from posedeploy.sdk.streaming import Stream

SECONDS = 10.0  # for what comes at once


def threads() -> int:
    return sum(thread.name == "stream" for thread in threading.enumerate())


@pytest.mark.parametrize("ahead", [0, 1, 4])
@pytest.mark.parametrize("stages", [(), (lambda x: x + 1,), (lambda x: x + 1, lambda x: 2 * x)])
def test_results_come_in_order(ahead: int, stages: tuple[Callable[[int], int], ...]) -> None:
    expected = list(range(100))
    for stage in stages:
        expected = [stage(x) for x in expected]
    assert list(Stream(range(100), stages, ahead=ahead)) == expected
    assert threads() == 0


def test_stages_work_at_the_same_time() -> None:
    """Each stage waits for another one to be at work, so that one thread alone never ends."""
    meeting = threading.Barrier(2)

    def meet(x: int) -> int:
        meeting.wait(SECONDS)
        return x

    # the first item of the second stage meets the second of the first; the last two are alone
    first, second = (lambda x: meet(x) if x else x), (lambda x: meet(x) if x < 9 else x)
    assert list(Stream(range(10), [first, second])) == list(range(10))


@pytest.mark.parametrize("ahead", [1, 3])
def test_a_slow_caller_bounds_what_is_read(ahead: int) -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for x in range(1000):
            read.append(x)
            yield x

    full = (ahead + 1) * 2 + 1
    with closing(Stream(source(), [lambda x: x], ahead=ahead)) as results:
        assert next(results) == 0
        waiting = threading.Event()
        for _ in range(1000):  # until nothing moves any more
            if len(read) == full:
                break
            waiting.wait(SECONDS / 1000)
        waiting.wait(0.05)
        assert len(read) == full
    assert threads() == 0


@pytest.mark.parametrize("ahead", [0, 2])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_an_error_comes_after_the_results_before_it(where: int, ahead: int) -> None:
    def failing(place: int) -> Callable[[int], int]:
        def work(x: int) -> int:
            if place == where and x == 5:
                raise ValueError("at five")
            return x

        return work

    got: list[int] = []
    results = Stream(map(failing(0), range(100)), [failing(1), failing(2)], ahead=ahead)
    with pytest.raises(ValueError, match="at five"):
        got.extend(results)  # keeps what came before
    assert got == [0, 1, 2, 3, 4]
    assert threads() == 0


def test_stopping_closes_the_source_in_its_thread() -> None:
    closed: list[str] = []

    def source() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            closed.append(threading.current_thread().name)

    with closing(Stream(source(), [lambda x: x])) as results:
        assert [next(results), next(results)] == [0, 1]
    assert closed == ["stream"]
    assert threads() == 0


def test_a_stage_that_hangs_does_not_keep_the_caller() -> None:
    hanging, released = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 0
        hanging.set()
        released.wait(SECONDS)

    with closing(Stream(source(), patience=0.01)) as results:
        assert next(results) == 0
        hanging.wait(SECONDS)
    assert threads() == 1
    released.set()


def test_with_newest_old_items_are_dropped_and_the_source_never_waits() -> None:
    begun, all_read = threading.Event(), threading.Event()

    def source() -> Iterator[int]:
        yield 0
        begun.wait(SECONDS)
        yield from range(1, 100)
        all_read.set()

    def work(x: int) -> int:
        begun.set()
        all_read.wait(SECONDS)
        return x

    assert list(Stream(source(), [work], newest=True)) == [0, 99]


@pytest.mark.parametrize("ahead", [0, 2])
def test_a_signal_handler_can_stop_it_at_any_time(ahead: int) -> None:
    """An exception in the handler could leave a lock taken, or released twice."""

    def stopping(results: Stream) -> Callable[[int, object], None]:
        return lambda _number, _frame: results.stop()

    before = signal.getsignal(signal.SIGALRM)
    try:
        for number in range(200):
            results = Stream(iter(range(10**9)), [lambda x: x], ahead=ahead)
            signal.signal(signal.SIGALRM, stopping(results))
            with closing(results):
                signal.setitimer(signal.ITIMER_REAL, 0.0002 + 0.00001 * number)
                got = list(results)
                assert got == list(range(len(got)))
            assert threads() == 0
    finally:
        signal.signal(signal.SIGALRM, before)
