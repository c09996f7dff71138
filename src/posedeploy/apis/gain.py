"""What computing in bf16 gains: a folder's files against themselves, computed in float32."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import quantiles

import numpy as np

from posedeploy.runtime import Device, device_of
from posedeploy.sdk.binding import load_session
from posedeploy.sdk.folder import read_folder

ROUNDS = 15  # fewer where they take longer than `SECONDS`, but `MIN_ROUNDS`
MIN_ROUNDS = 3
SECONDS = 2.0
# One thread computes, so its CPU time is the latency on an idle machine. Windows counts it
# in steps of 16 ms, which is too coarse.
CLOCK = time.process_time if os.name == "posix" else time.perf_counter
Call = Callable[[], object]


@dataclass(frozen=True)
class Gain:
    """The time of one call of the network in bf16 as a share of its time in float32."""

    share: float  # the median of the rounds
    low: float  # their quartiles
    high: float
    rounds: int


def measure_gain(folder: Path) -> Gain:
    """Time the network of a folder in bf16, whose files hold float32, in both precisions.

    With one thread and one image, as `posedeploy profile` does by default.

    Raises:
        UnavailableError: The backend does not compute in bf16 here.
    """
    model = read_folder(folder)
    device = Device.parse(device_of(model.model.backend, model.precision))
    exact = replace(model, model=replace(model.model, precision="FP32"))
    bf16, fp32 = (load_session(one, device, threads=1) for one in (model, exact))
    noise = np.random.default_rng(0)
    feed = {
        info.name: noise.random([s if isinstance(s, int) else 1 for s in info.shape], np.float32)
        for info in fp32.inputs
    }
    return paired_gain(lambda: bf16.run(feed), lambda: fp32.run(feed))


def paired_gain(bf16: Call, fp32: Call, clock: Callable[[], float] = CLOCK) -> Gain:
    """Call both in turns: what slows the machine down for a while slows both alike.

    The first calls are not counted.
    """
    for call in (bf16, fp32):
        call()
    began, shares = clock(), list[float]()
    while len(shares) < MIN_ROUNDS or (len(shares) < ROUNDS and clock() - began < SECONDS):
        start = clock()
        bf16()
        between = clock()
        fp32()
        shares.append((between - start) / (clock() - between))
    low, share, high = quantiles(shares, n=4)
    return Gain(share, low, high, len(shares))
