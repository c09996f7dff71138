"""What `PoseDetector` takes and gives: boxes and poses."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import Decoded
from posedeploy.sdk.transforms import Floats, Region, to_image

# Boxes of one image in one call: crowds have some hundreds, and 10,000 take RTMPose-t a minute.
MAX_BOXES = 10_000
MAX_COORDINATE = 1e7  # px; OpenCV warps images with sides below 32767


@dataclass(frozen=True)
class Poses:
    """People in one image."""

    keypoints: NDArray[np.float32]  # `[n, K, 3]`: x, y in image px, score
    boxes: NDArray[np.float32]  # `[n, 4]`: left, top, right, bottom in image px, detected or given
    scores: NDArray[np.float32]  # `[n]`: of the boxes; 1 for boxes that were given
    labels: NDArray[np.int64] | None = None  # `[n]`: class, from 0; None for models of one class
    # `[n, K]`: how likely a keypoint is visible, 0 to 1; None for models that do not tell
    visible: NDArray[np.float32] | None = None

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Poses:
        """Those people of the image, by a mask or by their numbers."""
        labels = None if self.labels is None else self.labels[rows]
        visible = None if self.visible is None else self.visible[rows]
        return Poses(self.keypoints[rows], self.boxes[rows], self.scores[rows], labels, visible)


def as_boxes(boxes: ArrayLike) -> Floats:
    """Boxes as `[N, 4]`; float32 stays, everything else becomes float64.

    MMPose computes in the boxes' own type, and so the same boxes give the same pixels.  A
    BadInputError says what is no box, not finite, beyond `MAX_COORDINATE` or more than
    `MAX_BOXES`, which is known before anything is copied.
    """
    try:
        _check_count(len(boxes) if isinstance(boxes, Sized) else 0)
        array = np.asarray(boxes)
        _check_count(array.size // 4)
        if array.dtype.kind not in "fiuO" and array.size:
            raise ValueError(f"could not convert {array.dtype} to numbers")
        array = array if array.dtype == np.float32 else array.astype(np.float64)
        if array.size == 0:
            return array.reshape(0, 4)
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(f"shape {list(array.shape)}")
        if not np.isfinite(array).all():
            raise ValueError("values that are not finite")
        if np.abs(array).max() > MAX_COORDINATE:
            raise ValueError(f"{np.abs(array).max():g} px")
    except (MemoryError, OverflowError, TypeError, ValueError) as error:
        expected = (
            "[left, top, right, bottom] or a list of such, finite numbers in px, "
            f"at most {MAX_COORDINATE:g}, and at most {MAX_BOXES:,} boxes"
        )
        next_step = "Pass boxes[:, :4] where the boxes carry scores."
        raise BadInputError("boxes", str(error), expected, next_step) from error
    return array


def _check_count(count: int) -> None:
    if count > MAX_BOXES:
        raise ValueError(f"{count:,} boxes")


def place(decoded: Decoded, regions: Sequence[Region], input_size: tuple[int, int]) -> Poses:
    """Decoded people, whose `image` counts the regions, mapped to the pixels of their images."""
    centers = np.stack([region.center for region in regions])[decoded.image]
    scales = np.stack([region.scale for region in regions])[decoded.image]
    people = len(decoded.points)
    points = to_image(decoded.points, centers, scales, input_size)
    result = np.concatenate([points, decoded.point_scores[..., None]], axis=-1, dtype=np.float32)
    if decoded.boxes is None or decoded.box_scores is None:
        boxes = np.stack([region.box for region in regions])[decoded.image]
        visible = None if decoded.visible is None else decoded.visible.astype(np.float32)
        ones = np.ones(people, np.float32)
        return Poses(result, boxes.astype(np.float32), ones, visible=visible)
    corners = decoded.boxes.reshape(people, 2, 2)
    boxes = to_image(corners, centers, scales, input_size).reshape(people, 4)
    scores = decoded.box_scores.astype(np.float32)
    return Poses(result, boxes.astype(np.float32), scores, decoded.labels)


def join(parts: Sequence[Poses], keypoints: int) -> Poses:
    """Several poses of one image as one; none give empty arrays for `keypoints`."""
    if not parts:
        points, boxes = np.empty((0, keypoints, 3), np.float32), np.empty((0, 4), np.float32)
        return Poses(points, boxes, np.empty(0, np.float32))
    labels = [part.labels for part in parts if part.labels is not None]
    visible = [part.visible for part in parts if part.visible is not None]
    return Poses(
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate(labels) if labels else None,
        np.concatenate(visible) if visible else None,
    )
