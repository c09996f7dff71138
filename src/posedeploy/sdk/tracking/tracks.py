"""The tracks of one stream: who is known, where, how fast, and since when missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.tracking.geometry import Floats, area
from posedeploy.sdk.tracking.motion import Motion, Noise
from posedeploy.sdk.tracking.smoothing import OneEuro, Smoothed

Rows = NDArray[np.intp] | NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class Tracks:
    """Arrays with a row for each track, in the order in which they began."""

    identities: NDArray[np.int64]  # `[n]`
    missing: NDArray[np.int64]  # `[n]`: frames since the last pose; 0 for those in this frame
    unconfirmed: NDArray[np.int64]  # `[n]`: detections since the last that found the person
    scores: Floats  # `[n]`: of the last detected box
    boxes: Floats  # `[n, 4]`: around the keypoints
    keypoints: Floats  # `[n, K, 3]`: x, y in px, as found or predicted; score, as last found
    motion: Motion  # of the middles of the boxes
    smoothed: Smoothed  # the keypoints

    @classmethod
    def start(cls, identities: NDArray[np.int64], poses: Measured, noise: Noise) -> Self:
        """New tracks, one a pose."""
        none = np.zeros(len(identities), np.int64)
        motion = Motion.start(poses.middles, poses.sizes, noise)
        smoothed = Smoothed.start(poses.keypoints[..., :2])
        return cls(
            identities, none, none, poses.scores, poses.boxes, poses.keypoints, motion, smoothed
        )

    def predict(self, noise: Noise) -> Self:
        """One frame later, with nothing found in it yet."""
        motion = self.motion.predict(np.sqrt(area(self.boxes)), noise)
        step = motion.place - self.motion.place
        keypoints = self.keypoints.copy()
        keypoints[..., :2] += step[:, None]
        boxes = self.boxes + np.tile(step, 2)
        return replace(self, motion=motion, keypoints=keypoints, boxes=boxes)

    def correct(self, poses: Measured, noise: Noise, one_euro: OneEuro | None) -> Self:
        """With a pose found for each."""
        points = poses.keypoints[..., :2]
        smoothed = Smoothed.start(points)
        if one_euro is not None:  # tracks that were missing start again
            filtered = self.smoothed.step(points, one_euro)
            smoothed = put(smoothed, self.missing == 0, select(filtered, self.missing == 0))
        return replace(
            self,
            missing=np.zeros_like(self.missing),
            scores=poses.scores, boxes=poses.boxes, keypoints=poses.keypoints,
            motion=self.motion.correct(poses.middles, poses.sizes, noise),
            smoothed=smoothed,
        )  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """Poses in one frame, with a row each."""

    keypoints: Floats  # `[n, K, 3]`: x, y in px, score
    boxes: Floats  # `[n, 4]`: around the keypoints
    scores: Floats  # `[n]`: of the boxes that they were found in

    @property
    def middles(self) -> Floats:
        """`[n, 2]`: of the boxes, px."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> Floats:
        """`[n]`: square roots of the boxes' areas, px."""
        sizes: Floats = np.sqrt(area(self.boxes))
        return sizes


def select(value: T, rows: Rows) -> T:
    """Those rows of every array in a dataclass."""
    return _map(lambda array: array[rows], value)


def join(first: T, second: T) -> T:
    """The rows of two of the same class."""
    return _map(lambda *arrays: np.concatenate(arrays), first, second)


def put(value: T, rows: Rows, changed: T) -> T:
    """A copy with those rows changed."""

    def one(array: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        array = array.copy()
        array[rows] = new
        return array

    return _map(one, value, changed)


def _map(function: Callable[..., NDArray[Any]], first: T, *others: T) -> T:
    """The function of every array in a dataclass, and in those within it."""
    if isinstance(first, np.ndarray):
        return cast("T", function(first, *others))
    kind: Any = type(first)
    parts = [
        _map(function, *[getattr(one, name) for one in (first, *others)]) for name in _names(kind)
    ]
    return cast("T", kind(*parts))


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
