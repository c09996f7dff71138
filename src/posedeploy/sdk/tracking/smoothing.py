"""The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012), for many points at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from posedeploy.sdk.tracking.geometry import Floats


@dataclass(frozen=True)
class OneEuro:
    """A low-pass filter whose cutoff rises with speed; a frame is the unit of time."""

    beta: float  # what a px a frame of speed adds to the cutoff
    least_cutoff: float  # of points that stand, in cycles a frame
    speed_cutoff: float  # of the speed, in cycles a frame


@dataclass(frozen=True)
class Smoothed:
    """Points and their speeds after the filter."""

    points: Floats  # `[n, K, 2]`: x, y in px
    speeds: Floats  # `[n, K, 2]`: px a frame

    @classmethod
    def start(cls, points: Floats) -> Self:
        """Points as they are measured first."""
        return cls(points, np.zeros_like(points))

    def step(self, points: Floats, one_euro: OneEuro) -> Self:
        """With points `[n, K, 2]` measured in the next frame.

        The speed is a vector, as in MMDeploy: both coordinates of a point get the same cutoff.
        """
        away = points - self.points
        speeds = self.speeds + _share(one_euro.speed_cutoff) * (away - self.speeds)
        fast = np.linalg.norm(speeds, axis=-1, keepdims=True)
        share = _share(one_euro.least_cutoff + one_euro.beta * fast)
        return replace(self, points=self.points + share * away, speeds=speeds)


def _share(cutoff: Floats | float) -> Floats | float:
    """Share of the new value in the filtered one, 0 to 1, at a cutoff in cycles a frame."""
    return cutoff / (cutoff + 1 / (2 * np.pi))
