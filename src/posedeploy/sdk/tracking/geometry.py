"""How alike boxes and poses are, boxes around keypoints, and suppression of what is alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def area(boxes: Floats) -> Floats:
    """Px² `[n]` of boxes `[n, 4]`; 0 where right is left of left, or bottom above top."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    return sides[:, 0] * sides[:, 1]


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union `[n, m]` of boxes `[n, 4]` and `[m, 4]`; 0 for empty boxes."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = area(first)[:, None] + area(second)[None] - shared
    alike: Floats = shared / np.maximum(union, 1e-6)
    return alike


def oks(first: Floats, second: Floats, areas: Floats, sigmas: Floats, threshold: float) -> Floats:
    """Object keypoint similarity `[n, m]` of poses `[n, K, 3]` and `[m, K, 3]` (x, y, score).

    `areas` `[n, m]` are in px². Keypoints that both poses have with a score from the threshold
    take part; 0 where there are none. The formula is COCO's:
    https://cocodataset.org/#keypoints-eval
    """
    away = first[:, None, :, :2] - second[None, :, :, :2]
    spread = 8 * np.maximum(areas, 1e-6)[..., None] * sigmas**2
    both = (first[:, None, :, 2] >= threshold) & (second[None, :, :, 2] >= threshold)
    alike = np.exp(-(away[..., 0] ** 2 + away[..., 1] ** 2) / spread) * both
    mean: Floats = alike.sum(axis=-1) / np.maximum(both.sum(axis=-1), 1)
    return mean


def keypoint_boxes(
    keypoints: Floats, scale: float, threshold: float
) -> tuple[Floats, NDArray[np.intp]]:
    """Boxes `[n, 4]` around keypoints `[n, K, 3]`, and how many keypoints count `[n]`.

    A box is what the keypoints with a score from the threshold span, `scale` times as large about
    its middle; at (0, 0) and empty where there are none.
    """
    counts = keypoints[..., 2] >= threshold
    number = counts.sum(axis=1)
    some = counts | (number == 0)[:, None]
    low = np.where(some[..., None], keypoints[..., :2], np.inf).min(axis=1, initial=np.inf)
    high = np.where(some[..., None], keypoints[..., :2], -np.inf).max(axis=1, initial=-np.inf)
    middle, half = (low + high) / 2, (high - low) * (scale / 2)
    return np.concatenate([middle - half, middle + half], axis=1), number


def clipped(boxes: Floats, size: tuple[int, int]) -> Floats:
    """The parts of boxes `[n, 4]` within an image of (width, height) px."""
    return np.clip(boxes, 0, np.tile(size, 2))


def suppress(order: NDArray[np.intp], alike: Floats, threshold: float) -> NDArray[np.bool_]:
    """Which of n stay `[n]`: in that order, all that are less alike than the threshold to others.

    `alike` is `[n, n]`. Those that are not in `order` do not stay.
    """
    stays = np.zeros(len(alike), bool)
    for row in order:
        stays[row] = not (alike[row, stays] >= threshold).any()
    return stays
