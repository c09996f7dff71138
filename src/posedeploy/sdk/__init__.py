"""The SDK model folder: read it, validate it, and find keypoints with nothing but the folder."""
