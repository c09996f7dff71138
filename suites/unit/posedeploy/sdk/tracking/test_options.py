"""MMDeploy's parameters: names, defaults, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.tracking.options import LIMITS, TrackingOptions, tracking_options

# csrc/mmdeploy/codebase/mmpose/pose_tracker/common.h of MMDeploy 1.3.1
DEFAULTS = {
    "det_interval": 1, "det_label": 0, "det_min_bbox_size": -1, "det_thr": 0.5,
    "det_nms_thr": 0.7, "pose_max_num_bboxes": -1, "pose_min_keypoints": -1,
    "pose_min_bbox_size": 0, "pose_kpt_thr": 0.5, "pose_nms_thr": 0.5, "keypoint_sigmas": None,
    "track_iou_thr": 0.4, "pose_bbox_scale": 1.25, "track_max_missing": 10,
    "track_history_size": 1, "std_weight_position": 0.05, "std_weight_velocity": 0.00625,
    "smooth_params": (0.007, 1.0, 1.0),
}  # fmt: skip


def test_the_defaults_are_mmdeploys() -> None:
    assert vars(tracking_options({})) == DEFAULTS


def test_every_number_has_limits() -> None:
    assert set(LIMITS) == set(DEFAULTS) - {"keypoint_sigmas", "smooth_params"}


def test_mmdeploys_other_name_of_a_parameter_is_taken() -> None:
    assert tracking_options({"track_kpt_thr": 0.3}).pose_kpt_thr == 0.3


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("det_interval", 1.5, "a whole number"),
        ("det_interval", True, "a whole number"),
        ("det_nms_thr", 1.2, "a number from 0 to 1"),
        ("det_thr", float("nan"), "a number from 0 to 1"),
        ("keypoint_sigmas", [0.1, 0], "numbers above 0"),
        ("keypoint_sigmas", "coco", "numbers above 0"),
        ("pose_min_keypoints", -2, "a whole number from -1"),
        ("smooth_params", (0.007, 1), "three numbers"),
        ("smooth_params", (0.007, 1, None), "three numbers"),
        ("track_max_missing", "10", "a whole number from 0"),
    ],
)
def test_other_values_are_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(BadInputError, match=rf"create_state\({name}\).*expected {expected}"):
        tracking_options({name: value})


def test_a_name_that_is_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInputError, match="Did you mean track_max_missing"):
        tracking_options({"track_max_misses": 3})


def test_whole_numbers_are_numbers() -> None:
    assert TrackingOptions(det_min_bbox_size=100, det_thr=0).det_min_bbox_size == 100
