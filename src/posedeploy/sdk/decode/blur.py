"""Gaussian blur of many heatmaps in one OpenCV call."""

from __future__ import annotations

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.float32]


def blur(maps: Maps, kernel: int, border: Literal["zero", "reflect"]) -> Maps:
    """Blur `[M, H, W]` heatmaps with OpenCV's Gaussian of `kernel` cells.

    The maps are stacked into one tall image with margins between them, so that none sees its
    neighbor; rows keep their width, and with it OpenCV's order of additions.

    Args:
        maps: `[M, H, W]` float32.
        kernel: Odd size of the kernel, cells; its sigma is OpenCV's default for that size.
        border: What lies beyond a map: zeros, or the map reflected (without its edge cell).
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
    rescaled: NDArray[Any] = blurred * factor
    return rescaled
