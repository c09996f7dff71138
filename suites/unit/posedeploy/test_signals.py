"""The signals that end a process are handled for a block, and only where they count."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from posedeploy.signals import STOP_SIGNALS, handling_stop_signals, postponing_signals


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in (*STOP_SIGNALS, signal.SIGINT)}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_a_signal_is_handled_in_the_block_alone(signum: signal.Signals) -> None:
    before, received = signal.getsignal(signum), []
    with handling_stop_signals(lambda number, _frame: received.append(number)):
        os.kill(os.getpid(), signum)
    assert received == [signum]
    assert signal.getsignal(signum) is before


@pytest.mark.parametrize("signum", STOP_SIGNALS)
def test_what_is_ignored_stays_ignored(signum: signal.Signals) -> None:
    signal.signal(signum, signal.SIG_IGN)  # as under nohup
    with handling_stop_signals(lambda number, _frame: pytest.fail(f"{number} was handled")):
        os.kill(os.getpid(), signum)
    assert signal.getsignal(signum) is signal.SIG_IGN


def _exit(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def test_a_signal_ends_the_process_when_the_block_has_ended() -> None:
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    woken: list[str] = []
    for signum, expected in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        before, done = signal.getsignal(signum), False
        with (  # noqa: PT012 - the signal comes in the block
            pytest.raises(expected),
            postponing_signals(partial(woken.append, signum.name)) as signals,
        ):
            assert not signals.came
            signals.check()
            os.kill(os.getpid(), signum)
            assert signals.came
            done = True
        assert done
        assert signal.getsignal(signum) is before
    assert woken == ["SIGINT", "SIGTERM"]


def test_a_second_signal_ends_the_block_at_once() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ended = False
    with pytest.raises(KeyboardInterrupt), postponing_signals(lambda: None):  # noqa: PT012 - it comes in the block
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        ended = True
    assert not ended


def test_a_postponed_signal_can_be_raised_earlier() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), postponing_signals(lambda: None) as signals:  # noqa: PT012 - it comes in the block
        os.kill(os.getpid(), signal.SIGINT)
        signals.check()
        pytest.fail("was not raised")


def test_what_is_ignored_is_not_postponed() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with postponing_signals(lambda: pytest.fail("was handled")) as signals:
        os.kill(os.getpid(), signal.SIGINT)
    assert not signals.came


def test_another_thread_changes_no_handler() -> None:
    before, seen = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with postponing_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
