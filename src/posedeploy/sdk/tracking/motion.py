"""Constant velocity: a Kalman filter of the places of people, all at once.

Both coordinates of a place have the same noise, so one covariance of place and speed serves them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from posedeploy.sdk.tracking.geometry import Floats


@dataclass(frozen=True)
class Noise:
    """Standard deviations over the size of a person (DeepSORT's, which MMDeploy took over)."""

    place: float  # of a place that is measured, and of what is predicted for the next frame
    speed: float  # of the change of speed in a frame


@dataclass(frozen=True)
class Motion:
    """Places and speeds of people; a frame is the unit of time."""

    place: Floats  # `[n, 2]`: x, y in px
    speed: Floats  # `[n, 2]`: px a frame
    spread: Floats  # `[n, 3]`: variance of the place, covariance, variance of the speed

    @classmethod
    def start(cls, places: Floats, sizes: Floats, noise: Noise) -> Self:
        """People at `places` `[n, 2]`, of `sizes` `[n]` px, that stand as far as is known."""
        none = np.zeros(len(places))
        spread = np.stack(
            [(2 * noise.place * sizes) ** 2, none, (10 * noise.speed * sizes) ** 2], axis=1
        )
        return cls(places, np.zeros_like(places), spread)

    def predict(self, sizes: Floats, noise: Noise) -> Self:
        """One frame later."""
        place, both, speed = self.spread.T
        spread = [
            place + 2 * both + speed + (noise.place * sizes) ** 2,
            both + speed,
            speed + (noise.speed * sizes) ** 2,
        ]
        return replace(self, place=self.place + self.speed, spread=np.stack(spread, axis=1))

    def correct(self, places: Floats, sizes: Floats, noise: Noise) -> Self:
        """With people of `sizes` `[n]` measured at `places` `[n, 2]`."""
        place, both, speed = self.spread.T
        sum_ = place + (noise.place * sizes) ** 2
        of_place, of_speed = place / sum_, both / sum_  # gains
        away = places - self.place
        spread = [place * (1 - of_place), both * (1 - of_place), speed - of_speed * both]
        return replace(
            self,
            place=self.place + of_place[:, None] * away,
            speed=self.speed + of_speed[:, None] * away,
            spread=np.stack(spread, axis=1),
        )
