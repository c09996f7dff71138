"""People in the frames of a video, each with an identity: `PoseTracker`."""

from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.protocols import FindsBoxes, FindsPoses
from posedeploy.sdk.tracking.tracker import PoseTracker, TrackedPoses, TrackerState

__all__ = [
    "FindsBoxes",
    "FindsPoses",
    "PoseTracker",
    "TrackedPoses",
    "TrackerState",
    "TrackingOptions",
]
