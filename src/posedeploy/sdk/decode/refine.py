"""Peaks of heatmaps and their refinement below one cell, for all keypoints at once.

Each function equals the one of MMPose 1.3.2 that it names, in float32 and in the same order of
operations.  Two differences are wanted: a keypoint without a peak (score 0 or less) stays at
(-1, -1), where MMPose's UDP and SimCC refinements read a neighboring keypoint's values; and one
whose outputs are NaN or infinite is there too, with score NaN, where MMPose gives it the score of
the other axis of SimCC, or of its peak.
"""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]
Points = NDArray[np.float32]
Floats = NDArray[np.floating[Any]]
NO_PEAK = -1.0


def blur(maps: Maps, kernel: int, border: Literal["zero", "reflect"]) -> Maps:
    """Blur `[M, H, W]` heatmaps with OpenCV's Gaussian of `kernel` cells.

    The maps are stacked into one tall image with margins between them, so that none sees its
    neighbor; rows keep their width, and with it OpenCV's order of additions.  Beyond a map lie
    zeros, or the map reflected, without its edge cell.
    """
    count, height, width = maps.shape
    margin = kernel // 2
    if border == "zero":  # np.pad does the same in five times the time
        padded = np.zeros((count, height + 2 * margin, width + 2 * margin), np.float32)
        padded[:, margin : margin + height, margin : margin + width] = maps
    else:
        padded = np.pad(maps, ((0, 0), (margin, margin), (margin, margin)), mode="reflect")
    tall = padded.reshape(-1, width + 2 * margin)
    blurred: NDArray[Any] = cv2.GaussianBlur(tall, (kernel, kernel), 0).reshape(padded.shape)
    return blurred[:, margin : margin + height, margin : margin + width]


def modulate(maps: Maps, kernel: int) -> Maps:
    """Blur heatmaps over a border of zeros and scale each back to its own maximum.

    "Distribution modulation" of Zhang et al., "Distribution-Aware Coordinate Representation"
    (CVPR 2020); equals `gaussian_blur` in mmpose/codecs/utils, but for a map whose blurred
    maximum is 0: there MMPose divides 0 by 0, and here the map stays as it is.
    """
    return _rescaled(blur(maps, kernel, "zero"), maps)


def modulate_rows(rows: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """The same for `[M, W]` distributions, as `gaussian_blur1d` in mmpose/codecs/utils."""
    margin = kernel // 2
    padded = np.pad(rows, ((0, 0), (margin, margin)))
    blurred: NDArray[Any] = cv2.GaussianBlur(padded, (kernel, 1), 0)
    return _rescaled(blurred[:, margin : margin + rows.shape[1]], rows)


def _rescaled(blurred: NDArray[Any], original: NDArray[Any]) -> NDArray[Any]:
    axes = tuple(range(1, original.ndim))
    top, blurred_top = original.max(axes, keepdims=True), blurred.max(axes, keepdims=True)
    factor = np.ones_like(top)
    np.divide(top, blurred_top, out=factor, where=blurred_top != 0)
    return blurred * factor  # type: ignore[no-any-return]


def peaks(maps: Maps) -> tuple[Points, NDArray[np.float32]]:
    """Where each map `[M, H, W]` is largest, as `get_heatmap_maximum`, and the values `[M]`.

    Points are `[M, 2]` (x, y) in heatmap cells, (-1, -1) where no value is above 0.
    """
    count, _, width = maps.shape
    flat = maps.reshape(count, -1)
    index = flat.argmax(axis=1)
    values = flat[np.arange(count), index]
    rows, columns = np.divmod(index, width)
    points = np.stack((columns, rows), axis=-1).astype(np.float32)
    points[values <= 0.0] = NO_PEAK
    return points, values


def only_numbers(points: Floats, scores: Floats) -> tuple[Floats, Floats]:
    """Points `[..., 2]` and scores `[...]`; (-1, -1) and NaN where one is not finite."""
    finite = np.isfinite(points).all(axis=-1) & np.isfinite(scores)
    if finite.all():
        return points, scores
    no_peak, no_score = points.dtype.type(NO_PEAK), scores.dtype.type(np.nan)
    return np.where(finite[..., None], points, no_peak), np.where(finite, scores, no_score)


def _cells(points: Points) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    cells = points.astype(np.intp)
    return cells[:, 0], cells[:, 1]


def quarter_shift(points: Points, maps: Maps) -> Points:
    """A quarter cell towards the larger neighbor, as `refine_keypoints`.

    Along an axis the step is taken only where the peak is neither in the first two cells of
    that axis nor in its last, and not in the first cell of the other.
    """
    x, y = _cells(points)
    height, width = maps.shape[1:]
    shift = np.zeros_like(points)
    rows = np.flatnonzero((x > 1) & (x < width - 1) & (y > 0) & (y < height))
    shift[rows, 0] = maps[rows, y[rows], x[rows] + 1] - maps[rows, y[rows], x[rows] - 1]
    rows = np.flatnonzero((y > 1) & (y < height - 1) & (x > 0) & (x < width))
    shift[rows, 1] = maps[rows, y[rows] + 1, x[rows]] - maps[rows, y[rows] - 1, x[rows]]
    shifted = points.copy()
    shifted += np.sign(shift) * np.float32(0.25)
    return shifted


def megvii_shift(points: Points, maps: Maps) -> Points:
    """Half a cell plus a quarter towards the larger neighbor, as `MegviiHeatmap.decode`."""
    x, y = _cells(points)
    height, width = maps.shape[1:]
    rows = np.flatnonzero((x > 1) & (x < width - 1) & (y > 1) & (y < height - 1))
    x, y = x[rows], y[rows]
    across = maps[rows, y, x + 1] - maps[rows, y, x - 1]
    down = maps[rows, y + 1, x] - maps[rows, y - 1, x]
    direction = np.sign(np.stack((across, down), axis=-1))
    shifted = points.copy()
    shifted[rows] += direction * np.float32(0.25) + np.float32(0.5)
    return shifted


def inverses(matrices: NDArray[np.floating]) -> NDArray[np.floating]:
    """Inverses of `[M, 2, 2]`; zeros, which refine nothing, for a matrix that has none."""
    try:
        return np.linalg.inv(matrices)
    except np.linalg.LinAlgError:  # one singular matrix spoils the whole call
        result = np.zeros_like(matrices)
        for row, matrix in zip(result, matrices, strict=True):
            if np.linalg.matrix_rank(matrix) == 2:
                row[:] = np.linalg.inv(matrix)
        return result


def dark(points: Points, maps: Maps, kernel: int) -> Points:
    """One Newton step on the logarithm of the blurred map, as `refine_keypoints_dark`.

    Zhang et al., "Distribution-Aware Coordinate Representation" (CVPR 2020).
    """
    x, y = _cells(points)
    height, width = maps.shape[1:]
    rows = np.flatnonzero((x > 1) & (x < width - 2) & (y > 1) & (y < height - 2))
    x, y = x[rows], y[rows]
    blurred = modulate(maps, kernel)

    def log_at(dx: int, dy: int) -> NDArray[np.float32]:
        near: NDArray[np.float32] = blurred[rows, y + dy, x + dx]
        return np.log(np.maximum(near, np.float32(1e-10)))

    here, half, quarter = log_at(0, 0), np.float32(0.5), np.float32(0.25)
    gradient = np.stack(
        (half * (log_at(1, 0) - log_at(-1, 0)), half * (log_at(0, 1) - log_at(0, -1))), axis=-1
    )
    dxx = quarter * (log_at(2, 0) - 2 * here + log_at(-2, 0))
    dyy = quarter * (log_at(0, 2) - 2 * here + log_at(0, -2))
    dxy = quarter * (log_at(1, 1) - log_at(1, -1) - log_at(-1, 1) + log_at(-1, -1))
    curved = dxx * dyy - dxy**2 != 0
    hessian = np.stack((dxx, dxy, dxy, dyy), axis=-1).reshape(-1, 2, 2)[curved]
    step = -inverses(hessian) @ gradient[curved, :, None]
    refined = points.copy()
    refined[rows[curved]] += step[..., 0]
    return refined


def dark_udp(points: Points, maps: Maps, kernel: int) -> Points:
    """The same for UDP, as `refine_keypoints_dark_udp`: every peak, the map's edges repeated.

    Huang et al., "The Devil is in the Details" (CVPR 2020).
    """
    rows = np.flatnonzero(points[:, 0] >= 0)
    x, y = (axis[rows] for axis in _cells(points))
    height, width = maps.shape[1:]
    blurred = modulate(maps, kernel)

    def log_at(dx: int, dy: int) -> NDArray[np.float32]:
        column, line = (x + dx).clip(0, width - 1), (y + dy).clip(0, height - 1)
        near: NDArray[np.float32] = blurred[rows, line, column]
        return np.log(near.clip(np.float32(1e-3), np.float32(50.0)))  # type: ignore[no-any-return]

    here, half = log_at(0, 0), np.float32(0.5)
    left, right, above, below = log_at(-1, 0), log_at(1, 0), log_at(0, -1), log_at(0, 1)
    gradient = np.stack((half * (right - left), half * (below - above)), axis=-1)[..., None]
    dxx, dyy = right - 2 * here + left, below - 2 * here + above
    diagonal = log_at(1, 1) - right - below + here + here - left - above + log_at(-1, -1)
    dxy = half * diagonal
    hessian = np.stack((dxx, dxy, dxy, dyy), axis=-1).reshape(-1, 2, 2)
    # float32's epsilon on a float64 unit matrix: MMPose inverts in float64
    inverse = inverses(hessian + np.finfo(np.float32).eps * np.eye(2))
    step = np.einsum("imn,ink->imk", inverse, gradient)[..., 0]
    refined = points.copy()
    refined[rows] -= step
    return refined


def combined_offsets(
    maps: Maps, kernel: int, radius_factor: float
) -> tuple[Points, NDArray[np.float32]]:
    """Peaks of UDP's combined maps `[3 * M, H, W]`: class, x offset, y offset in turn.

    As `UDPHeatmap.decode` with `heatmap_type='combined'`.  `kernel` is the codec's; the class
    maps are blurred with twice that + 1.  `radius_factor` is a part of the map's longer side.
    """
    points, values = peaks(blur(maps[::3], 2 * kernel + 1, "reflect"))
    rows = np.flatnonzero(points[:, 0] >= 0)
    x, y = (axis[rows] for axis in _cells(points))
    radius = radius_factor * max(maps.shape[1:])
    offsets = np.stack((maps[1::3][rows, y, x], maps[2::3][rows, y, x]), axis=-1)
    points[rows] += offsets * np.float32(radius)
    return points, values
