"""The drawn data set: figures with known joints, in three splits that share no image.

Weights are fitted on one split, int8 ranges are calibrated on another, and accuracy is measured
on the third. Left and right joints have different colors, so a mirrored figure is not in the
distribution: no left-right pairs are declared, and a flip test is meaningless.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.synthetic.figures import JOINTS, Image, Style, draw_scene

# First seed of each split. Other drawn images (calibrated weights, their admission, the
# judge's samples) have seeds below 1e9; a test compares the sets.
SPLITS: Mapping[str, int] = {
    "calibration": 20_000_000_000,
    "evaluation": 30_000_000_000,
    "fitting": 10_000_000_000,
}
_MAX_COUNT = 1_000_000_000  # images of a split: less than the distance of two first seeds
SIZE = (384, 384)

# Twelve vivid hues, three dark and two pale ones: the nearest two are 127 apart in one channel.
# Neighbors on the body are far apart. BGR.
# fmt: off
PALETTE = (
    (0, 0, 255), (255, 255, 0), (0, 255, 0), (255, 0, 255), (0, 255, 255),  # nose, eyes, ears
    (255, 0, 0), (0, 128, 255), (128, 0, 255), (0, 255, 128),               # shoulders, elbows
    (255, 128, 0), (128, 0, 0), (255, 0, 128), (128, 255, 0),               # wrists, hips
    (0, 0, 128), (255, 128, 255), (128, 255, 255), (0, 128, 0),             # knees, ankles
)
# fmt: on
STYLE = Style(
    PALETTE, disc=0.03, smallest_disc=3.0, head=1.5, separation=0.055, crowd=0.6, overlap=0.1
)
_BOX_MARGIN = 0.05  # of the larger side of the joints' extent: discs and limbs are inside

# Standard deviation of an annotator's clicks over the square root of the area, per joint:
# https://cocodataset.org/#keypoints-eval
# fmt: off
SIGMAS = (
    .026, .025, .025, .035, .035, .079, .079, .072, .072,
    .062, .062, .107, .107, .087, .087, .089, .089,
)
# fmt: on

# Fields of a parsed metainfo for a data set without left-right pairs.
WITHOUT_PAIRS: Mapping[str, Any] = {"flip_pairs": [], "flip_indices": list(range(len(JOINTS)))}


@dataclass(frozen=True)
class Figure:
    """One image of the drawn data set."""

    image: Image
    keypoints: NDArray[np.float32]  # [P, 17, 2], x and y in image px, COCO's order; all visible
    bboxes: NDArray[np.float32]  # [P, 4], x1, y1, x2, y2 in image px, of the whole figures
    name: str  # split and number, such as 'evaluation-12'


def drawn_figures(
    split: str, count: int, people: int = 1, size: tuple[int, int] = SIZE
) -> Iterator[Figure]:
    """The first images of a split; the same ones on every call. Another size is another set.

    Up to three people in an image, boxes intersect in at most a tenth of the smaller one. The size
    is (W, H) in px, at least 48 each.

    Raises:
        ValueError: No such split, or more images than a split has.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
    if not 0 <= count <= _MAX_COUNT:
        raise ValueError(f"{count} images; a split has {_MAX_COUNT}")
    for index in range(count):
        image, keypoints = draw_scene(SPLITS[split] + index, size, people, STYLE)
        yield Figure(image, keypoints, _boxes(keypoints, size), f"{split}-{index}")


def _boxes(keypoints: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """[P, 4]: what the joints span, with a margin, within the image."""
    low, high = keypoints.min(axis=1), keypoints.max(axis=1)
    margin = (high - low).max(axis=1, keepdims=True) * _BOX_MARGIN
    low, high = np.maximum(low - margin, 0), np.minimum(high + margin, np.array(size))
    return np.hstack([low, high]).astype(np.float32)
