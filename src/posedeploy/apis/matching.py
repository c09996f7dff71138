"""The same people on two sides, and how far their keypoints are apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.decode.assignment import assigned

Keypoints = NDArray[np.float64]
FAR_PX = 1e9  # stands for the distance of a keypoint that is not a number


@dataclass(frozen=True, eq=False)
class Matched:
    """People that two sides both have; the first side's are in the order of the second's.

    `distances` `[P, K]` are in px of the network's input, `people` `[P]` are their places in the
    second side, and `only_one` counts the people of either side that have no counterpart.
    """

    distances: NDArray[np.float64]
    people: NDArray[np.intp]
    only_one: int


def match_people(
    found: Keypoints, expected: Keypoints, image_px_per_input_px: float, match_px: float
) -> Matched:
    """Match the people of two sides by the mean distance of their keypoints.

    Keypoints are `[N, K, 3]` and `[M, K, 3]`, image px and score, with the class as a fourth
    column where there are several: people of different classes are not the same people, and
    neither are those whose keypoints are more than `match_px` (of the network's input) apart in
    the mean. Where each side has one person, they are matched at any distance.
    """
    apart = np.linalg.norm(found[:, None, :, :2] - expected[None, :, :, :2], axis=-1)
    apart /= image_px_per_input_px
    cost = np.nan_to_num(apart.mean(axis=-1), nan=FAR_PX, posinf=FAR_PX)
    other = _labels(found)[:, None] != _labels(expected)[None]
    rows, columns = assigned(cost + FAR_PX * other)
    same = ~other[rows, columns]
    if max(len(found), len(expected)) > 1:
        same &= cost[rows, columns] <= match_px
    rows, columns = rows[same], columns[same]
    only_one = len(found) + len(expected) - 2 * len(rows)
    return Matched(apart[rows, columns], columns, only_one)


def _labels(keypoints: Keypoints) -> NDArray[np.int64]:
    labels = classes_of(keypoints)
    return np.zeros(len(keypoints), np.int64) if labels is None else labels


def classes_of(keypoints: Keypoints) -> NDArray[np.int64] | None:
    """The labels `[N]` in the fourth column, None if there is none."""
    if keypoints.shape[-1] < 4:
        return None
    return keypoints[:, 0, 3].astype(np.int64)
