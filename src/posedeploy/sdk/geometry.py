"""Where a box lands in the network's input: MMPose 1.3.2's arithmetic, bit for bit.

Every expression keeps MMPose's order of operations and its mixture of float32 and float64,
because one last bit of difference in a warp matrix is an image that differs.  Sources:
`bbox_xyxy2cs`, `get_warp_matrix` and `get_udp_warp_matrix` in mmpose/structures/bbox,
`TopdownAffine` and `BottomupResize` in mmpose/datasets/transforms, all at rotation 0.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def centers_and_scales(
    boxes: Floats, padding: float, input_size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Padded centers `[N, 2]` and sizes `[N, 2]` of boxes `[N, 4]`, image px, of their dtype.

    The sizes are brought to the aspect ratio of the input; `padding` is a factor on them.
    """
    scales = (boxes[:, 2:] - boxes[:, :2]) * padding
    centers = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    ratio = input_size[0] / input_size[1]
    width, height = scales[:, :1], scales[:, 1:]
    wide = width > height * ratio
    fixed = np.where(wide, np.hstack([width, width / ratio]), np.hstack([height * ratio, height]))
    return centers, fixed


def warp_matrix(
    center: Floats, scale: Floats, output_size: tuple[int, int]
) -> NDArray[np.float64]:
    """The `[2, 3]` matrix from image px to input px for one box, without UDP.

    Three point pairs define it: the box's center, the middle of its left side, and a third at a
    right angle to them.  The points are float32, and OpenCV solves for the matrix in float64.
    """
    half_width, half_height = output_size[0] * 0.5, output_size[1] * 0.5
    source = np.empty((3, 2), np.float32)
    source[0] = center
    source[1] = np.add(center, (scale[0] * -0.5, 0.0), dtype=np.float64)
    source[2] = source[1]
    source[2, 1] += source[0, 0] - source[1, 0]
    corner = half_height + half_width
    target = np.array([[half_width, half_height], [0.0, half_height], [0.0, corner]], "float32")
    return cv2.getAffineTransform(source, target)  # type: ignore[return-value]


def udp_warp_matrix(
    center: Floats, scale: Floats, output_size: tuple[float, float]
) -> NDArray[np.float32]:
    """The same with unbiased data processing: pixels are points, so n of them span n - 1.

    Huang et al., "The Devil is in the Details" (CVPR 2020).  The matrix is float32.
    """
    matrix = np.zeros((2, 3), np.float32)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for axis in (0, 1):
            factor = (output_size[axis] - 1) / scale[axis]
            matrix[axis, axis] = factor
            matrix[axis, 1 - axis] = 0.0 * factor
            matrix[axis, 2] = factor * (-center[axis] + 0.5 * scale[axis])
    return matrix


def fit_image(
    image_size: tuple[int, int], input_size: tuple[int, int], use_udp: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.floating[Any]]]:
    """Fit a whole image into the input, aspect ratio kept, centered.

    It returns center `[2]` and scale `[2]` in image px, float32, and the matrix `[2, 3]`.
    """
    (image_w, image_h), (input_w, input_h) = image_size, input_size
    ratio = image_w / image_h
    fitted = min(input_w, input_h * ratio), min(input_h, input_w / ratio)
    if use_udp:
        center = np.array([(image_w - 1.0) / 2, (image_h - 1.0) / 2], np.float32)
        scale = np.array([image_w, image_h], np.float32)
        return center, scale, udp_warp_matrix(center, scale, fitted)
    center = np.array([image_w / 2, image_h / 2], np.float32)
    scale = np.array([image_w * input_w / fitted[0], image_h * input_h / fitted[1]], np.float32)
    return center, scale, warp_matrix(center, scale, input_size)


def to_image(
    points: Floats, centers: Floats, scales: Floats, input_size: tuple[int, int]
) -> Floats:
    """Map points `[N, ..., 2]`, one row a box, from input px to image px, float64.

    Centers and scales `[N, 2]` are those of `centers_and_scales`.
    """
    shape = (len(points),) + (1,) * (points.ndim - 2) + (2,)
    center, scale = centers.reshape(shape), scales.reshape(shape)
    size = np.array(input_size)
    return points / size * scale + center - 0.5 * scale  # type: ignore[no-any-return]
