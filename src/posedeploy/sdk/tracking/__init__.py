"""People in the frames of a video, each with an identity: `PoseTracker`."""

from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.tracker import PoseTracker, TrackedPoses, TrackerState

__all__ = ["PoseTracker", "TrackedPoses", "TrackerState", "TrackingOptions"]
