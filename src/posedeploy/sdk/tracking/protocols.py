"""What a tracker needs of a detector and of a pose model."""

from __future__ import annotations

from typing import Protocol

from numpy.typing import ArrayLike

from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.images import Image
from posedeploy.sdk.poses import Poses


class FindsBoxes(Protocol):
    """A detector, such as `PersonDetector`."""

    def detect(self, img: Image, /) -> Boxes:
        """Boxes in one image `[H, W, 3]` uint8, BGR."""
        ...


class FindsPoses(Protocol):
    """A pose model, such as `PoseDetector`."""

    def detect(self, img: Image, bboxes: ArrayLike | None = None, /) -> Poses:
        """Poses in one image, one a box `[n, 4]` in px; None for models that find the people."""
        ...
