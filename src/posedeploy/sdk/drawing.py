"""Draw keypoints and skeletons on an image, in the data set's colors."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.meta import DatasetMeta

IMAGE_PER_LINE = 256.0  # one pixel of thickness for so many pixels of the image's shorter side
DEFAULT_COLOR = (0, 200, 255)  # RGB


def draw_poses(
    image: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    meta: DatasetMeta,
    min_score: float = 0.0,
) -> NDArray[np.uint8]:
    """A copy of the BGR image with the keypoints `[N, K, 3]`, x, y in image px, score, on it.

    Without a skeleton in `meta` only dots are drawn; keypoints below `min_score` are left out.
    """
    canvas = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / IMAGE_PER_LINE))
    for person in keypoints:
        visible = (person[:, 2] >= min_score) & np.isfinite(person).all(axis=1)
        points = [_pixel(x, y) for x, y, _ in person]
        for i, (start, end) in enumerate(meta.skeleton_links):
            if visible[start] and visible[end]:
                color = _bgr(meta.skeleton_link_colors, i)
                cv2.line(canvas, points[start], points[end], color, thickness, cv2.LINE_AA)
        for k in np.flatnonzero(visible):
            color = _bgr(meta.keypoint_colors, int(k))
            cv2.circle(canvas, points[k], thickness + 2, color, -1, cv2.LINE_AA)
            cv2.circle(canvas, points[k], thickness + 2, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def _pixel(x: float, y: float) -> tuple[int, int]:
    """Within what OpenCV can draw: a wild keypoint must not overflow its integers."""
    place = np.clip(np.nan_to_num([x, y]), -32_000, 32_000)
    return round(float(place[0])), round(float(place[1]))


def _bgr(colors: tuple[tuple[int, ...], ...], index: int) -> tuple[int, int, int]:
    red, green, blue = colors[index] if index < len(colors) else DEFAULT_COLOR
    return blue, green, red
