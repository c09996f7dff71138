"""Keypoints by mmpose's codecs, and how close their decisions were; torch not needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from poseconform.subject import mmpose_models


def decode(config_path: str, outputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Keypoints `[S, K, 2]` in input px by the codec of an MMPose model config.

    Outputs are 'output' `[S, K, H, W]` or `[S, K, 2 or 4]`, or 'simcc_x' `[S, K, Wx]` and
    'simcc_y' `[S, K, Wy]`.
    """
    from mmpose.registry import KEYPOINT_CODECS

    codec = KEYPOINT_CODECS.build(dict(mmpose_models.read_codec(config_path)))
    return decode_outputs(codec, outputs)[0]


def encoded(codec: Any, output: NDArray[Any]) -> NDArray[Any]:
    """What `predict` of a head makes of its output `[S, ...]` before the codec decodes it.

    Regression heads add an axis for people, and `RLEHead` has sigmas only by a sigmoid.
    """
    if type(codec).__name__ not in {"IntegralRegressionLabel", "RegressionLabel"}:
        return output
    sigmas = 1 / (1 + np.exp(-output[..., 2:]))
    return np.concatenate([output[..., :2], sigmas], axis=-1)[:, None]


def decode_outputs(
    codec: Any, outputs: Mapping[str, NDArray[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keypoints `[S, K, 2]` (input px) and scores `[S, K]`, image by image as mmpose does."""
    points, scores = [], []
    for parts in zip(*(encoded(codec, array) for array in outputs.values()), strict=True):
        sample = [np.array(part) for part in parts]  # codecs blur in place
        decoded = codec.decode(*sample)
        points.append(np.asarray(decoded[0], np.float64).reshape(-1, 2))
        # SimCCLabel with decode_visibility gives scores and visibilities
        score = decoded[1][0] if isinstance(decoded[1], tuple) else decoded[1]
        scores.append(np.asarray(score, np.float64).reshape(-1))
    return np.stack(points), np.stack(scores)


def heatmap_gaps(
    codec: Any, outputs: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How clear the decoder's decisions are, in units of the output.

    `[S, K]` best minus second-best value, and `[S, K]` least difference of a peak's neighbors
    (infinite where no quarter-cell step is taken).
    """
    (maps,) = outputs.values()
    if getattr(codec, "heatmap_type", "") == "combined":  # of each three maps the first decides
        maps = _smooth(maps[:, ::3], 2 * codec.blur_kernel_size + 1)
    if type(codec).__name__ == "MegviiHeatmap":  # blurs before it takes the maximum
        from mmpose.codecs.utils import gaussian_blur

        maps = np.stack([gaussian_blur(sample.copy(), codec.kernel_size) for sample in maps])
    gap = _top2_gap(maps.reshape(*maps.shape[:2], -1))
    # MSRAHeatmap without DARK and MegviiHeatmap move a quarter cell to the higher neighbor
    steps = not getattr(codec, "unbiased", False) and type(codec).__name__ != "UDPHeatmap"
    return gap, _shift_gap(maps) if steps else np.full_like(gap, np.inf)


def simcc_gaps(
    _codec: Any, outputs: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same for vectors: the lesser gap of both axes, and no quarter-cell steps."""
    x, y = (_top2_gap(array) for array in outputs.values())
    return np.minimum(x, y), np.full_like(x, np.inf)


def no_gaps(
    _codec: Any, outputs: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same for coordinates, which no maximum decides."""
    (points,) = outputs.values()
    gaps = np.full(points.shape[:2], np.inf)
    return gaps, gaps


def _top2_gap(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """To the second best value, and twice to 0, from where on mmpose finds no keypoint."""
    second, best = np.moveaxis(np.partition(vectors, -2, axis=-1)[..., -2:], -1, 0)
    return np.asarray(np.minimum(best - second, 2 * np.abs(best)))


def _smooth(maps: NDArray[np.float64], kernel: int) -> NDArray[np.float64]:
    """Each of `[S, K, H, W]` as UDPHeatmap blurs class maps."""
    result = np.empty_like(maps)
    for index in np.ndindex(*maps.shape[:2]):
        result[index] = cv2.GaussianBlur(maps[index], (kernel, kernel), 0)
    return result


def _shift_gap(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    samples, keypoints, height, width = maps.shape
    best = maps.reshape(samples, keypoints, -1).argmax(axis=-1)
    y, x = np.clip(best // width, 1, height - 2), np.clip(best % width, 1, width - 2)
    s, k = np.ogrid[:samples, :keypoints]
    dx = np.abs(maps[s, k, y, x + 1] - maps[s, k, y, x - 1])
    dy = np.abs(maps[s, k, y + 1, x] - maps[s, k, y - 1, x])
    return np.asarray(np.minimum(dx, dy))
