"""Images that need no download: a photograph from a dependency, and crops of drawn scenes."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import UnavailableError
from posedeploy.synthetic.figures import SMALLEST_SCENE, Image, draw_scene


@functools.cache
def photographs() -> tuple[Image, ...]:
    """Real photographs of people that a dependency ships, read-only.

    Returns:
        Matplotlib's portrait of Grace Hopper (public domain), [600, 512, 3].

    Raises:
        UnavailableError: Matplotlib, which mmpose itself needs, is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    root = Path(spec.origin).parent if spec is not None and spec.origin is not None else Path()
    image = cv2.imread(str(root / "mpl-data" / "sample_data" / "grace_hopper.jpg"))
    if image is None:
        raise UnavailableError(
            "matplotlib's sample image", f"no readable grace_hopper.jpg under {root}",
            "the file that every matplotlib wheel brings",
            "Install matplotlib, which mmpose needs as well.",
        )  # fmt: skip
    image.flags.writeable = False
    return (image.astype(np.uint8, copy=False),)


def calibration_images(
    count: int, size: tuple[int, int], seed: int, people: int = 1
) -> list[Image]:
    """Random crops (W, H) of photographs and drawn scenes in turns, half of them mirrored."""
    rng = np.random.default_rng([seed, count, *size])
    photos, crops = photographs(), []
    drawn = max(size[0], SMALLEST_SCENE), max(size[1], SMALLEST_SCENE)
    for index in range(count):
        if index % 2:
            source: Image = draw_scene(seed * 1000 + index, drawn, people)[0]
        else:
            source = photos[(index // 2) % len(photos)]
        crop = _random_crop(rng, source, size)
        crops.append(crop[:, ::-1].copy() if rng.random() < 0.5 else crop)
    return crops


def _random_crop(rng: np.random.Generator, image: Image, size: tuple[int, int]) -> Image:
    """A box of 0.35 to 1 times the largest that fits, in `size`'s aspect ratio, resized to it."""
    height, width = image.shape[:2]
    fit = min(width / size[0], height / size[1]) * rng.uniform(0.35, 1.0)
    box = np.maximum(np.array(size) * fit, 8).astype(int)
    x, y = (rng.random(2) * (np.array([width, height]) - box)).astype(int)
    crop = image[y : y + box[1], x : x + box[0]]
    return cv2.resize(crop, size, interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def network_input(
    images: Sequence[Image], mean: Sequence[float], std: Sequence[float], bgr_to_rgb: bool
) -> NDArray[np.float32]:
    """Images [H, W, 3] in BGR as a normalized batch [N, 3, H, W].

    Mean and std are in 0..255, in the network's channel order.
    """
    pixels = np.stack(images)[..., ::-1] if bgr_to_rgb else np.stack(images)
    batch = pixels.astype(np.float32) - np.array(mean, np.float32)
    batch /= np.array(std, np.float32)
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
