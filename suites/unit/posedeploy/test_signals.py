"""The signals that end a process are handled for a block, and only where they count."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from posedeploy.signals import STOP_SIGNALS, handling_stop_signals


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    before = {signum: signal.getsignal(signum) for signum in STOP_SIGNALS}
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
