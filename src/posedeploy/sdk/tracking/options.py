"""Parameters of tracking: names, meanings and defaults of MMDeploy's `PoseTracker`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from posedeploy.errors import BadInputError, did_you_mean

# MMDeploy's field in C -> its keyword in Python; both are taken
ALIASES: Mapping[str, str] = {"track_kpt_thr": "pose_kpt_thr"}
# Type, lowest and highest value of a number
LIMITS: Mapping[str, tuple[type[int | float], float, float]] = {
    "det_interval": (int, -math.inf, math.inf),
    "det_label": (int, 0, math.inf),
    "det_min_bbox_size": (float, -math.inf, math.inf),
    "det_nms_thr": (float, 0, 1),
    "det_thr": (float, 0, 1),
    "pose_bbox_scale": (float, 1e-3, math.inf),
    "pose_kpt_thr": (float, -math.inf, math.inf),
    "pose_max_num_bboxes": (int, -1, math.inf),
    "pose_min_bbox_size": (float, -math.inf, math.inf),
    "pose_min_keypoints": (int, -1, math.inf),
    "pose_nms_thr": (float, 0, 1),
    "std_weight_position": (float, 1e-6, math.inf),
    "std_weight_velocity": (float, 0, math.inf),
    "track_history_size": (int, 1, math.inf),
    "track_iou_thr": (float, 0, 1),
    "track_max_missing": (int, 0, math.inf),
}


@dataclass(frozen=True)
class TrackingOptions:
    """Parameters of `PoseTracker.create_state`; sizes are the square root of an area, in px.

    Names and defaults are those of MMDeploy 1.3.1 (`csrc/mmdeploy/apis/c/mmdeploy/pose_tracker.h`
    and `csrc/mmdeploy/codebase/mmpose/pose_tracker/common.h`, whose number counts).

    Attributes:
        det_interval: Frames from one detection to the next; from 0 down, never without
            `detect=1`.
        det_label: Class of the boxes that are taken.
        det_thr: Lower limit of a box's score, exclusive.
        det_min_bbox_size: Smallest size of a detected box.
        det_nms_thr: IoU from which two boxes are the same person.
        pose_max_num_bboxes: Most boxes that go to the pose model in a frame; -1 is all.
        pose_kpt_thr: Score from which a keypoint counts; `track_kpt_thr` in MMDeploy's Python.
        pose_min_keypoints: Keypoints that must count in a pose; -1 is half of them.
        pose_bbox_scale: Factor from the extent of the keypoints to their box.
        pose_min_bbox_size: Smallest size of the box of a pose.
        pose_nms_thr: OKS from which two poses are the same person; IoU without sigmas.
        keypoint_sigmas: COCO's constants of OKS, one a keypoint. None takes those of the model's
            data set, where the model's folder has them; MMDeploy takes none.
        track_iou_thr: Lowest IoU of a pose's box with the one predicted for a track.
        track_max_missing: Frames that a track may be missing before it ends. Where people cross at
            walking pace at 25 frames a second, one is hidden for up to 16: 20 keeps them apart.
        track_history_size: Taken and not used: MMDeploy keeps a history that nothing reads.
        std_weight_position: Standard deviation of a position over the size of the person.
        std_weight_velocity: The same of the change of velocity in a frame.
        smooth_params: beta, lowest cutoff and cutoff of the derivative of the One-Euro filter, in
            frames; None gives the keypoints as the pose model finds them.

    Raises:
        BadInputError: A value that is none of these.
    """

    det_interval: int = 1
    det_label: int = 0
    det_thr: float = 0.5
    det_min_bbox_size: float = -1
    det_nms_thr: float = 0.7
    pose_max_num_bboxes: int = -1
    pose_kpt_thr: float = 0.5
    pose_min_keypoints: int = -1
    pose_bbox_scale: float = 1.25
    pose_min_bbox_size: float = 0
    pose_nms_thr: float = 0.5
    keypoint_sigmas: Sequence[float] | None = None
    track_iou_thr: float = 0.4
    track_max_missing: int = 10
    track_history_size: int = 1
    std_weight_position: float = 1 / 20
    std_weight_velocity: float = 1 / 160
    smooth_params: Sequence[float] | None = (0.007, 1.0, 1.0)

    def __post_init__(self) -> None:
        for name, (kind, low, high) in LIMITS.items():
            value = getattr(self, name)
            kinds = (int, np.integer) if kind is int else (int, float, np.number)
            if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
                bounds = [f"from {low:g}"] * (low > -math.inf) + [f"to {high:g}"] * (
                    high < math.inf
                )
                what = "a whole number" if kind is int else "a number"
                raise _wrong(name, value, " ".join([what, *bounds]))
        self._check_list("smooth_params", 3, 0, "three numbers from 0, or None")
        self._check_list("keypoint_sigmas", None, 1e-6, "numbers above 0, one a keypoint, or None")

    def _check_list(self, name: str, count: int | None, low: float, expected: str) -> None:
        value = getattr(self, name)
        if value is None:
            return
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError) as error:
            raise _wrong(name, value, expected) from error
        right = array.ndim == 1 and array.size and count in {None, array.size}
        if not right or not np.isfinite(array).all() or array.min() < low:
            raise _wrong(name, value, expected)
        object.__setattr__(self, name, tuple(array.tolist()))


def tracking_options(parameters: Mapping[str, Any]) -> TrackingOptions:
    """Options from MMDeploy's keywords.

    Raises:
        BadInputError: A name that is none of them, or a value that does not fit.
    """
    names = [field.name for field in fields(TrackingOptions)]
    values = {ALIASES.get(name, name): value for name, value in parameters.items()}
    for name in values:
        if name not in names:
            next_step = did_you_mean(name, names, "Leave it out.")
            raise BadInputError("create_state", name, f"one of {', '.join(names)}", next_step)
    return TrackingOptions(**values)


def _wrong(name: str, value: Any, expected: str) -> BadInputError:
    return BadInputError(f"create_state({name})", repr(value), expected, "Pass another value.")
