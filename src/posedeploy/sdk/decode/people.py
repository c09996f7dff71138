"""What the decoders of heads share that find people in maps: peaks, and people as boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.decode import Decoded
from posedeploy.sdk.decode.refine import only_numbers
from posedeploy.sdk.fields import Node

Maps = NDArray[np.float32]
MAX_COUNT = 100_000  # of people or candidates; real ones have 30


@dataclass(frozen=True)
class Grouped:
    """People of one image."""

    points: NDArray[np.float32]  # `[P, K, 2]` input px
    scores: NDArray[np.float32]  # `[P, K]` of the keypoints
    people: NDArray[np.float32]  # `[P]` of the people


def only_peaks(maps: Maps, kernel: int) -> Maps:
    """Maps `[M, H, W]` with 0 wherever a value is not the largest in a square of `kernel` cells.

    As `batch_heatmap_nms` in mmpose/codecs/utils.
    """
    square = np.ones((kernel, kernel), np.uint8)
    peaks = np.empty_like(maps)
    for image, out in zip(maps, peaks, strict=True):
        np.multiply(image, image == cv2.dilate(image, square), out=out)
    return peaks


def largest(values: Maps, count: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """The `count` largest of values `[M, P]` above 0, best first, and their indices `[M, count]`.

    Of equal ones the first comes first. Where there are fewer, the rest is 0 and place 0.
    """
    count = min(count, values.shape[1])
    best, index = (
        np.zeros((len(values), count), np.float32),
        np.zeros((len(values), count), np.intp),
    )
    lowest = np.partition(values, -count, axis=1)[:, -count]
    for row, low, found, places in zip(values, lowest, best, index, strict=True):
        candidates = np.flatnonzero((row >= low) & (row > 0))
        order = candidates[np.argsort(-row[candidates], kind="stable")[:count]]
        found[: len(order)], places[: len(order)] = row[order], order
    return best, index


def decoded(people: Callable[[int], Grouped], images: int) -> Decoded:
    """The people of a batch; a person's box holds its keypoints, for the network outputs none.

    A keypoint that is not finite has the score NaN, and no part in the box.
    """
    parts = [people(i) for i in range(images)]
    image = np.repeat(np.arange(images), [len(part.people) for part in parts])
    points, scores = only_numbers(
        _joined([p.points for p in parts]), _joined([p.scores for p in parts])
    )
    corners = [points.min(axis=1), points.max(axis=1)] if points.size else [points[:, 0]] * 2
    return Decoded(
        image, points, scores, np.concatenate(corners, axis=-1), _joined([p.people for p in parts])
    )


def _joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(parts).astype(np.float32, copy=False)


def count_of(params: Node, key: str, default: int) -> int:
    """A count from 1 on; null is no limit."""
    if params.has(key) and params.value[key] is None:
        return MAX_COUNT
    value = params.get(key, int, default)
    if not 1 <= value <= MAX_COUNT:
        raise params.at(key).error(f"an integer from 1 to {MAX_COUNT}")
    return value


def level_of(params: Node, key: str, default: float) -> float:
    """A threshold from 0 on."""
    value = params.get(key, float, default)
    if value < 0:
        raise params.at(key).error("a number from 0")
    return float(value)


def kernel_of(params: Node, key: str, default: int) -> int:
    """The side of a square of cells, an odd integer."""
    value = params.get(key, int, default)
    if not (1 <= value <= 255 and value % 2):
        raise params.at(key).error("an odd integer from 1 to 255")
    return value
