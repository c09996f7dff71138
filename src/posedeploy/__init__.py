"""Deploy any MMPose model to any inference backend."""

__version__ = "0.1.0"
