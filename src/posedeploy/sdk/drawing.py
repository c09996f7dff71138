"""Draw keypoints and skeletons in the data set's colors, and classes in their own."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.meta import DatasetMeta

IMAGE_PER_LINE = 256.0  # one pixel of thickness for so many pixels of the image's shorter side
DEFAULT_COLOR = (0, 200, 255)  # RGB
# Of classes and identities, RGB: colors that people with color blindness tell apart (Okabe and
# Ito, https://jfly.uni-koeln.de/color/); further ones start again.
CLASS_COLORS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167),
)  # fmt: skip
Color = tuple[int, int, int]
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_poses(
    image: NDArray[np.uint8],
    keypoints: NDArray[np.floating],
    meta: DatasetMeta,
    min_score: float = 0.0,
    labels: NDArray[np.integer] | None = None,
    *,
    identities: NDArray[np.integer] | None = None,
) -> NDArray[np.uint8]:
    """A copy of the BGR image with the keypoints `[N, K, 3]`, x, y in image px, score, on it.

    Without a skeleton in `meta` only dots are drawn; keypoints below `min_score` are left out.
    Above the highest keypoint stands the name of the class in `labels` `[N]`, or its number. With
    `identities` `[N]` the links of each person have a color of its own, and the number is there.
    """
    canvas = image.copy()
    thickness = max(1, round(min(image.shape[:2]) / IMAGE_PER_LINE))
    for n, person in enumerate(keypoints):
        visible = (person[:, 2] >= min_score) & np.isfinite(person).all(axis=1)
        points = [_pixel(x, y) for x, y, _ in person]
        own = None if identities is None else _cycle(int(identities[n]))
        for i, (start, end) in enumerate(meta.skeleton_links):
            if visible[start] and visible[end]:
                color = _bgr(meta.skeleton_link_colors, i) if own is None else own
                cv2.line(canvas, points[start], points[end], color, thickness, cv2.LINE_AA)
        for k in np.flatnonzero(visible):
            color = _bgr(meta.keypoint_colors, int(k))
            cv2.circle(canvas, points[k], thickness + 2, color, -1, cv2.LINE_AA)
            cv2.circle(canvas, points[k], thickness + 2, (0, 0, 0), 1, cv2.LINE_AA)
        if (labels is not None or own is not None) and visible.any():
            top = min((points[k] for k in np.flatnonzero(visible)), key=lambda point: point[1])
            words = [] if identities is None else [str(identities[n])]
            label = 0
            if labels is not None:
                label = int(labels[n])
                names = meta.class_names
                words.append(names[label] if label < len(names) else f"class {label}")
            _draw_text(canvas, top, " ".join(words), own or _cycle(label), thickness)
    return canvas


def _draw_text(
    canvas: NDArray[np.uint8], place: tuple[int, int], text: str, color: Color, size: int
) -> None:
    """The text on a color, its lower edge above `place`, within the image."""
    scale = 0.4 * size
    (width, height), below = cv2.getTextSize(text, FONT, scale, size)
    x = int(np.clip(place[0] - width // 2, 0, max(0, canvas.shape[1] - width)))
    y = int(np.clip(place[1] - 4 * size - below, height, max(height, canvas.shape[0] - below)))
    cv2.rectangle(canvas, (x, y - height - 1), (x + width, y + below), color, -1)
    cv2.putText(canvas, text, (x, y), FONT, scale, (0, 0, 0), size, cv2.LINE_AA)


def _cycle(number: int) -> Color:
    """The color, BGR, of a class or an identity."""
    return _bgr(CLASS_COLORS, number % len(CLASS_COLORS))


def _pixel(x: float, y: float) -> tuple[int, int]:
    """Within what OpenCV can draw: a wild keypoint must not overflow its integers."""
    place = np.clip(np.nan_to_num([x, y]), -32_000, 32_000)
    return round(float(place[0])), round(float(place[1]))


def _bgr(colors: tuple[tuple[int, ...], ...], index: int) -> Color:
    red, green, blue = colors[index] if index < len(colors) else DEFAULT_COLOR
    return blue, green, red
