"""Other orders of keypoints than the model's: COCO's and COCO-WholeBody's as OpenPose's.

OpenPose's body of 18 keypoints has a neck, the middle between the shoulders, which COCO has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.meta import DatasetMeta
from posedeploy.sdk.poses import Poses

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
NECK = (5, 6)  # COCO's shoulders
# OpenPose's keypoints 0 to 17 as COCO's: `mmpose_idx` and `openpose_idx` of ControlNet's DWPose
# (https://github.com/IDEA-Research/DWPose, ControlNet-v1-1-nightly/annotator/dwpose/wholebody.py)
# and of its node in ComfyUI. The neck's score is the lower one of the shoulders', so that it is
# above a limit where both are, which DWPose decides at 0.3.
_BODY: Sequence[int | tuple[int, int]] = (
    0, NECK, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3,
)  # fmt: skip
# Links of the body and colors (RGB) of keypoints and links, as ControlNet draws them: `limbSeq`
# and `colors` of annotator/openpose/util.py, https://github.com/lllyasviel/ControlNet.
_LINKS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_MODELS = "the keypoints of COCO (17) or of COCO-WholeBody (133)"

# ---- modify this table to add an order: name -> {keypoints of the model: what each one is} ---
ORDERS: Mapping[str, Mapping[int, Sequence[int | tuple[int, int]]]] = {
    "openpose": {17: _BODY, 133: (*_BODY, *range(17, 133))},
}
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KeypointOrder:
    """Brings poses of one model into an order."""

    meta: DatasetMeta  # of the keypoints in that order
    _first: NDArray[np.intp]  # [K']: the model's keypoint
    _second: NDArray[np.intp]  # [K']: the same, or the other one of those it is the middle of

    def apply(self, poses: Poses) -> Poses:
        """The poses with keypoints `[n, K', 3]`; of the middle of two, the lower score."""
        one, other = (poses.keypoints[:, index] for index in (self._first, self._second))
        points = (one[..., :2] + other[..., :2]) / 2
        scores = np.minimum(one[..., 2:], other[..., 2:])
        visible = poses.visible
        if visible is not None:
            visible = np.minimum(visible[:, self._first], visible[:, self._second])
        return replace(poses, keypoints=np.concatenate([points, scores], -1), visible=visible)


def keypoint_order(name: str, meta: DatasetMeta, keypoints: int) -> KeypointOrder:
    """The order of a name for a model with so many keypoints, whose facts are `meta`.

    Raises:
        BadInputError: No such order, or not for this model's keypoints.
    """
    if name not in ORDERS:
        raise BadInputError("keypoint order", name, f"one of: {', '.join(ORDERS)}", "Change it.")
    names = meta.keypoint_names
    if keypoints not in ORDERS[name] or (names and names[: len(COCO)] != COCO):
        few = f" ({', '.join(names[:3])}, …)" if names else ""
        raise BadInputError(
            f"keypoint order {name}", f"a model of {keypoints} keypoints{few}", _MODELS,
            "Leave the order out, or take a model of those.",
        )  # fmt: skip
    row = ORDERS[name][keypoints]
    pairs = np.array([(k, k) if isinstance(k, int) else k for k in row], np.intp)
    return KeypointOrder(_openpose_meta(meta, row), pairs[:, 0], pairs[:, 1])


def _openpose_meta(meta: DatasetMeta, row: Sequence[int | tuple[int, int]]) -> DatasetMeta:
    """Names, links and colors: OpenPose's for the body, the model's for what follows it."""
    body = len(_BODY)
    place = {k: i for i, k in enumerate(row) if isinstance(k, int)}
    links, colors = list(_LINKS), list(_COLORS[: len(_LINKS)])
    for link, color in zip(meta.skeleton_links, meta.skeleton_link_colors, strict=False):
        moved = tuple(place[k] for k in link)
        if min(moved) >= body:
            links.append(moved)  # type: ignore[arg-type]
            colors.append(color)  # type: ignore[arg-type]
    names = meta.keypoint_names
    return DatasetMeta(
        dataset_name=meta.dataset_name,
        keypoint_names=tuple(
            "neck" if not isinstance(k, int) else names[k] for k in row
        ) if names else (),
        skeleton_links=tuple(links), skeleton_link_colors=tuple(colors),
        keypoint_colors=(
            *_COLORS, *(meta.keypoint_colors[k] for k in row[body:] if isinstance(k, int)
                        and k < len(meta.keypoint_colors)),
        ),
        class_names=meta.class_names,
    )  # fmt: skip
