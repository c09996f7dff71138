"""The SDK model folder: read it, validate it, and find keypoints with nothing but the folder.

Imports numpy and OpenCV; a backend is imported when a folder that needs it is loaded.
"""

from .folder import SdkModel, read_folder
from .meta import DatasetMeta
from .pose_detector import PoseDetector
from .poses import Poses

__all__ = ["DatasetMeta", "PoseDetector", "Poses", "SdkModel", "read_folder"]
