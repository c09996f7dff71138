"""Comparisons of tensors, keypoints and detections: numpy only, no verdicts.

Errors are absolute and in the unit of what is compared; images are pooled.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.quantized.noise import decibels

Array = NDArray[np.floating]

HISTOGRAM_EDGES = tuple(np.arange(-12.0, 2.5, 0.5).tolist())  # log10 of the absolute error


@dataclass(frozen=True)
class TensorError:
    """`got` against `expected` (float64), over all elements of all images."""

    max: float
    rms: float
    cosine: float
    sqnr_db: float
    histogram: tuple[int, ...]


def tensor_error(got: Array, expected: Array) -> TensorError:
    """Compare two arrays of one shape; NaN in `got` makes every number NaN or infinite."""
    if got.shape != expected.shape:
        raise ValueError(f"shapes differ: got {got.shape}, expected {expected.shape}")
    if expected.size == 0:
        return TensorError(0.0, 0.0, 1.0, float("inf"), (0,) * (len(HISTOGRAM_EDGES) - 1))
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    difference = np.abs(a - b)
    noise, signal = float(np.square(difference).sum()), float(np.square(b).sum())
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return TensorError(
        max=float(difference.max()),
        rms=float(np.sqrt(noise / b.size)),
        cosine=float(a @ b) / norms if norms > 0 else float(np.array_equal(a, b)),
        sqnr_db=decibels(signal, noise),
        histogram=log_histogram(difference),
    )


def log_histogram(difference: Array) -> tuple[int, ...]:
    """Counts of log10 |error| in `HISTOGRAM_EDGES`; exact zeros are left out, ends are open."""
    edges = np.asarray(HISTOGRAM_EDGES)
    positive = difference[np.isfinite(difference) & (difference > 0)]
    logs = np.clip(np.log10(positive), edges[0], np.nextafter(edges[-1], edges[0]))
    return tuple(int(n) for n in np.histogram(logs, bins=edges)[0])


@dataclass(frozen=True)
class PixelDistances:
    """Percentiles of keypoint distances, px; all 0 for an empty set."""

    p50: float
    p99: float
    max: float


def pixel_distances(distances: Array) -> PixelDistances:
    """Percentiles of `[...]` distances."""
    if distances.size == 0:
        return PixelDistances(0.0, 0.0, 0.0)
    p50, p99 = np.percentile(distances, [50, 99]).tolist()
    return PixelDistances(p50, p99, float(distances.max()))


def keypoint_distances(got: Array, expected: Array) -> Array:
    """Euclidean distances `[...]` of keypoints `[..., 2]`, px."""
    return np.asarray(np.linalg.norm(got[..., :2] - expected[..., :2], axis=-1))


# Standard deviation of an annotator's clicks over the square root of the object's area, by joint:
# https://cocodataset.org/#keypoints-eval
# fmt: off
COCO_SIGMAS = (
    .026, .025, .025, .035, .035, .079, .079, .072, .072,
    .062, .062, .107, .107, .087, .087, .089, .089,
)
# fmt: on


def keypoint_similarity(got: Array, expected: Array, areas: Array) -> Array:
    """COCO's object keypoint similarity `[S]`, 0 to 1, of keypoints `[S, 17, 2]` in px.

    `areas` `[S]` are those of the boxes, px squared.
    """
    squared = np.square(keypoint_distances(got, expected))
    variances = np.square(2 * np.asarray(COCO_SIGMAS))
    return np.asarray(np.exp(-squared / (2 * variances * areas[:, None])).mean(axis=-1))


def within_reach(
    got: Array,
    truth: Array,
    sizes: Array,
    reach: float = 0.05,
    labeled: NDArray[np.bool_] | None = None,
) -> float:
    """PCK: the fraction of keypoints `[S, K, 2]` at most `reach` of the box's larger side away.

    `sizes` `[S, 2]` are width and height of the boxes, px; `labeled` `[S, K]` says which keypoints
    count, all if None.
    """
    near = keypoint_distances(got, truth) <= reach * sizes.max(axis=-1)[:, None]
    return float((near if labeled is None else near[labeled]).mean())


@dataclass(frozen=True)
class Detections:
    """The people detected in one image, in input px."""

    boxes: Array  # [D, 4] x1, y1, x2, y2
    scores: Array  # [D]
    keypoints: Array  # [D, K, 2]
    keypoint_scores: Array  # [D, K]
    labels: NDArray[np.int64] | None = None  # [D] class, from 0; None: all are of class 0
    class_ties: NDArray[np.bool_] | None = None  # [D] either class will do; None: nowhere

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: NDArray[np.integer] | NDArray[np.bool_]) -> Detections:
        """Those of an index or mask."""
        parts: dict[str, Any] = {part.name: getattr(self, part.name) for part in fields(self)}
        chosen: dict[str, Any] = {
            name: None if part is None else part[index] for name, part in parts.items()
        }
        return replace(self, **chosen)


def other_classes(
    got: Detections, expected: Detections
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """`[D]` True where a detection has another class than its counterpart, and where a near tie.

    The first are those that no near tie of the counterpart's classes excuses.
    """
    one_class, no_ties = np.zeros(len(got), np.int64), np.zeros(len(got), bool)
    left, right = (one_class if d.labels is None else d.labels for d in (got, expected))
    ties = no_ties if expected.class_ties is None else expected.class_ties
    return (left != right) & ~ties, (left != right) & ties


def match_detections(
    got: Detections, expected: Detections, match_px: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair detections one to one, each at most `match_px` from its counterpart.

    The distance is the largest of the box's and keypoints' coordinate differences plus a hundred
    times the score's: boxes clipped to the image coincide, their scores and keypoints do not.
    Optimal assignment after Kuhn and Munkres, in scipy's implementation. The result is indices
    into `got` and `expected`.
    """
    if len(got) == 0 or len(expected) == 0:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    boxes = np.abs(got.boxes[:, None] - expected.boxes[None]).max(axis=-1)
    keypoints = np.abs(got.keypoints[:, None] - expected.keypoints[None]).max(axis=(-1, -2))
    scores = np.abs(got.scores[:, None] - expected.scores[None])
    cost = np.maximum(boxes, keypoints) + 100.0 * scores
    cost[~np.isfinite(cost)] = 1e9
    from scipy.optimize import linear_sum_assignment  # a third of a second

    rows, columns = linear_sum_assignment(np.minimum(cost, 10 * match_px))
    near = cost[rows, columns] <= match_px
    return rows[near], columns[near]
