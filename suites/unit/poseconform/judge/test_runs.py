"""Runs of a loaded session: what they take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from poseconform.judge import runs
from posedeploy.runtime import TensorInfo

IMAGE = np.zeros((1, 3, 4, 4), np.float32)


class Slow:
    """A session that takes `cold` seconds once and `warm` seconds from then on."""

    def __init__(self, cold: float, warm: float) -> None:
        self.inputs = (TensorInfo("input", (1, 3, 4, 4), "float32"),)
        self.outputs: tuple[TensorInfo, ...] = ()
        self.effective_options: dict[str, str] = {}
        self.takes = [cold, *[warm] * 20]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        del inputs
        time.sleep(self.takes.pop(0))
        return {"output": np.zeros((1, 2), np.float32)}


@pytest.fixture(autouse=True)
def _no_session_stays() -> Iterator[None]:
    yield
    runs._sessions.clear()


def test_a_cold_run_is_not_among_those_that_are_timed() -> None:
    runs._sessions[:] = [Slow(cold=0.3, warm=0.0)]
    timed = runs.time_runs(IMAGE)
    assert len(timed) == runs.MAX_TIMED
    assert max(timed) < 0.3


def test_a_slow_model_is_timed_less_often() -> None:
    runs._sessions[:] = [session := Slow(cold=0.0, warm=runs.TIMED_SECONDS)]
    assert len(runs.time_runs(IMAGE)) == runs.MIN_TIMED
    assert len(session.takes) == 20 - runs.MIN_TIMED
