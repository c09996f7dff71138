"""The SDK model folder: read it, validate it, and find keypoints with nothing but the folder.

Imports numpy and OpenCV; a backend is imported when a folder that needs it is loaded.
"""

from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.folder import SdkModel, read_folder
from posedeploy.sdk.meta import DatasetMeta
from posedeploy.sdk.person_detector import PersonDetector
from posedeploy.sdk.pose_detector import PoseDetector
from posedeploy.sdk.poses import Poses
from posedeploy.sdk.tracking import PoseTracker, TrackedPoses

__all__ = [
    "Boxes", "DatasetMeta", "PersonDetector", "PoseDetector", "PoseTracker", "Poses", "SdkModel",
    "TrackedPoses", "read_folder",
]  # fmt: skip
