"""What `PoseDetector` takes and gives: boxes and poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import Decoded
from posedeploy.sdk.geometry import Floats, to_image
from posedeploy.sdk.transforms import Region


@dataclass(frozen=True)
class Poses:
    """People in one image.

    Attributes:
        keypoints: `[n, K, 3]` float32: x, y in image px, score.
        boxes: `[n, 4]` float32: left, top, right, bottom in image px, detected or given.
        scores: `[n]` float32: of the boxes; 1 for boxes that were given.
    """

    keypoints: NDArray[np.float32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


def as_boxes(boxes: ArrayLike) -> Floats:
    """Boxes as `[N, 4]`; float32 stays, everything else becomes float64.

    MMPose computes in the boxes' own type, and so the same boxes give the same pixels.

    Raises:
        BadInputError: They are no boxes, or not finite.
    """
    expected = "[left, top, right, bottom] or a list of such, finite numbers in px"
    next_step = "Pass boxes[:, :4] where the boxes carry scores."
    try:
        array = np.asarray(boxes)
        array = array if array.dtype == np.float32 else array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise BadInputError("boxes", str(error), expected, next_step) from error
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 4:
        raise BadInputError("boxes", f"shape {list(array.shape)}", expected, next_step)
    if not np.isfinite(array).all():
        raise BadInputError("boxes", "values that are not finite", expected, next_step)
    return array


def place(decoded: Decoded, regions: Sequence[Region], input_size: tuple[int, int]) -> Poses:
    """Decoded people, whose `image` counts the regions, mapped to the pixels of their images."""
    centers = np.stack([region.center for region in regions])[decoded.image]
    scales = np.stack([region.scale for region in regions])[decoded.image]
    people, keypoints = decoded.points.shape[:2]
    result = np.empty((people, keypoints, 3), np.float32)
    result[..., :2] = to_image(decoded.points, centers, scales, input_size)
    result[..., 2] = decoded.point_scores
    if decoded.boxes is None or decoded.box_scores is None:
        boxes = np.stack([region.box for region in regions])[decoded.image]
        return Poses(result, boxes.astype(np.float32), np.ones(people, np.float32))
    corners = decoded.boxes.reshape(people, 2, 2)
    boxes = to_image(corners, centers, scales, input_size).reshape(people, 4)
    return Poses(result, boxes.astype(np.float32), decoded.box_scores.astype(np.float32))


def join(parts: Sequence[Poses], keypoints: int) -> Poses:
    """Several poses of one image as one; none give empty arrays for `keypoints`."""
    if not parts:
        points, boxes = np.empty((0, keypoints, 3), np.float32), np.empty((0, 4), np.float32)
        return Poses(points, boxes, np.empty(0, np.float32))
    return Poses(
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
