"""A small image with the reference's and the deployed keypoints drawn over each other.

Reference and deployed differ in shape and in color, so neither eyes nor a printer need colors;
the two are of Okabe and Ito's palette ("Color Universal Design", 2008).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from poseconform.results.records import ImageRecord

Image = NDArray[np.uint8]
Color = tuple[int, int, int]
LONGEST_SIDE = 224  # px of the image: a keypoint that is some pixels off is seen to be
MOST_BYTES = 6_000  # of the data in base64: a run of a hundred cells stays below a megabyte
ENLARGED = 2.0  # at most: more would only show the pixels of the image
MARGIN = 0.12  # of the people's longer side, around them
ORANGE, BLUE, PAPER = (0, 94, 213), (178, 114, 0), (255, 255, 255)  # BGR
RING, CROSS = 5, 3  # px: a cross lies within its ring where the two agree
CAPTION = "orange rings: PyTorch in float64; blue crosses: deployed, through the SDK client"


def overlay(
    image: Image, reference: NDArray[np.floating], deployed: NDArray[np.floating], name: str
) -> ImageRecord:
    """Keypoints `[P, K, 2]` and `[Q, K, 2]` (image px) on the part of the BGR image around them.

    What is not finite, or outside, is counted, not drawn.
    """
    marks = [p.reshape(-1, 2).astype(np.float64) for p in (reference, deployed)]
    left, top, right, bottom = region(image.shape[:2], np.concatenate(marks))
    part = image[top:bottom, left:right]
    scale = min(LONGEST_SIDE / max(part.shape[:2]), ENLARGED)
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = np.asarray(cv2.resize(part, size, interpolation=method), np.uint8)
    # less contrast, so that marks stand out (and it takes fewer bytes)
    canvas = np.asarray(resized * 0.62 + 80, np.uint8)
    rings, crosses = (
        (_inside(points, image.shape[:2]) - (left, top) + 0.5) * scale - 0.5 for points in marks
    )
    _rings(canvas, rings, PAPER, 4)  # rims of all, so that no mark is lost on its own color
    _crosses(canvas, crosses, PAPER, 4)
    _rings(canvas, rings, ORANGE, 2)
    _crosses(canvas, crosses, BLUE, 2)
    unseen = len(marks[1]) - len(_inside(marks[1], image.shape[:2]))
    note = f"; {unseen} of {len(marks[1])} deployed ones are outside the image" if unseen else ""
    return ImageRecord(name, encode(canvas), "image/webp", CAPTION + note)


def region(size: tuple[int, ...], points: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in px of the part that holds the points `[N, 2]`, never empty.

    It is the whole image, of height and width `size`, if none of them is in it.
    """
    height, width = size[:2]
    points = _inside(points, size)
    if len(points) == 0:
        return 0, 0, width, height
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * max(*(high - low), 16.0)
    left, top = np.floor(np.maximum(low - margin, 0)).astype(int).tolist()
    right, bottom = (np.ceil(np.minimum(high + margin, (width - 1, height - 1))) + 1).tolist()
    return left, top, int(right), int(bottom)


def encode(canvas: Image) -> str:
    """Base64 of a WebP file of at most `MOST_BYTES`, as good as that allows."""
    for candidate, quality in _attempts(canvas):
        done, data = cv2.imencode(".webp", candidate, [cv2.IMWRITE_WEBP_QUALITY, quality])
        text = base64.b64encode(data.tobytes()).decode() if done else ""
        if 0 < len(text) <= MOST_BYTES:
            return text
    raise ValueError(f"image {canvas.shape}: no WebP of at most {MOST_BYTES} bytes")


def _attempts(canvas: Image) -> Iterator[tuple[Image, int]]:
    for quality in (80, 65, 50, 35, 20, 10):
        yield canvas, quality
    for divisor in (1.5, 2, 4):  # of noise
        side = [max(1, round(n / divisor)) for n in (canvas.shape[1], canvas.shape[0])]
        yield np.asarray(cv2.resize(canvas, side, interpolation=cv2.INTER_AREA), np.uint8), 20


def _inside(points: NDArray[np.float64], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Those of the points that are finite and in the image (half a pixel past its edge)."""
    finite = points[np.isfinite(points).all(axis=1)]
    height, width = size[:2]
    within = (finite >= -0.5).all(axis=1) & (finite <= (width - 0.5, height - 0.5)).all(axis=1)
    return finite[within]


def _rings(canvas: Image, points: NDArray[np.float64], color: Color, thickness: int) -> None:
    for x, y in np.rint(points).astype(int).tolist():
        cv2.circle(canvas, (x, y), RING, color, thickness, cv2.LINE_AA)


def _crosses(canvas: Image, points: NDArray[np.float64], color: Color, thickness: int) -> None:
    for x, y in np.rint(points).astype(int).tolist():
        for dx, dy in ((1, 1), (1, -1)):
            ends = ((x - CROSS * dx, y - CROSS * dy), (x + CROSS * dx, y + CROSS * dy))
            cv2.line(canvas, *ends, color, thickness, cv2.LINE_AA)
