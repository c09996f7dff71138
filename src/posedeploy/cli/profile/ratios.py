"""Ratios of times that were measured in turns, with what they may be off by."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
MIN_ROUNDS = 6  # fewer have no interval of that confidence: 2 * 0.5**5 is above 0.05


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and its interval of at least `CONFIDENCE`."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def verdict(self) -> str:
        """Whether the first of the two is slower, as far as the rounds show."""
        if self.low > 1:
            return "slower"
        return "faster" if self.high < 1 else "no difference"


def paired_ratio(times: Sequence[float], others: Sequence[float]) -> Ratio:
    """The ratio of two times, each given once a round: `times[i] / others[i]`.

    The two of a round are measured one after the other, so what slows the machine down for longer
    than that slows both and leaves their ratio alone; the median drops rounds in which it slowed
    one of them. The interval is that of the sign test (Conover, Practical Nonparametric
    Statistics, 3.2): between the k-th smallest ratio and the k-th largest, with the largest k at
    which fewer than k of n fair coins show heads with a probability of at most
    (1 - `CONFIDENCE`) / 2. It assumes nothing of how the times are distributed. Below
    `MIN_ROUNDS` there is none: it is from 0 to infinity.

    Raises:
        ValueError: Not as many of one as of the other, or none.
    """
    ratios = sorted(time / other for time, other in zip(times, others, strict=True))
    count, middle = len(ratios), statistics.median(ratios)
    below, k = 0, 0
    while True:
        below += math.comb(count, k)
        if below / 2**count > (1 - CONFIDENCE) / 2:
            break
        k += 1
    if not k:
        return Ratio(middle, 0.0, math.inf, count)
    return Ratio(middle, ratios[k - 1], ratios[-k], count)
