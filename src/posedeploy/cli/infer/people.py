"""Where `infer` takes the boxes of people from, and the poses in them, of images and of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.cli.infer.sources import Source
from posedeploy.cli.infer.videos import Frame
from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.images import Image
from posedeploy.sdk.keypoint_orders import KeypointOrder
from posedeploy.sdk.poses import Poses
from posedeploy.sdk.tracking import PoseTracker
from posedeploy.sdk.tracking.protocols import FindsPoses

# Of a source, its image, and the frame of a video: boxes with scores, boxes alone, or None where
# the pose model takes the whole image.
BoxSource = Callable[[Source, Image, int | None], Boxes | ArrayLike | None]


@dataclass(frozen=True)
class People:
    """The people in an image, or in a frame of a video."""

    image: Image
    poses: Poses
    identities: NDArray[np.int64] | None = None  # [n], of those who are tracked
    index: int = 0  # of the frame
    time: float = 0.0  # of the frame, s


class PeopleFinder:
    """Finds boxes, and poses in them.

    Args:
        pose: The pose model.
        boxes: Where it takes boxes from.
        labeled: Whether people have the class of their box.
        tracking: Parameters of `PoseTracker.create_state`; None tracks nobody.
        finds_boxes: False where the pose model finds the people itself.
        order: Of the keypoints; None is the model's.
    """

    def __init__(
        self,
        pose: FindsPoses,
        boxes: BoxSource,
        *,
        labeled: bool = False,
        tracking: Mapping[str, Any] | None = None,
        finds_boxes: bool = True,
        order: KeypointOrder | None = None,
    ) -> None:
        self._pose, self._boxes, self._labeled = pose, boxes, labeled
        self._tracking, self._finds_boxes, self._order = tracking, finds_boxes, order

    def image(self, source: Source, image: Image) -> People:
        """The people in an image; they are not tracked."""
        return People(image, self._poses(image, self._boxes(source, image, None)))

    def stages(self, source: Source) -> Sequence[Callable[[Any], Any]]:
        """What makes the `People` of each `Frame` of a video, one call after the other.

        Each may run in a thread of its own. The frames of another video need others. What comes
        before and after a session takes a tenth of its time (suites/benchmarks/bench_sdk.py), and
        so no stage of its own.
        """
        if self._tracking is not None:
            return (self._track(source, self._tracking),)

        def boxes(frame: Frame) -> tuple[Frame, Any]:
            return frame, self._boxes(source, frame.image, frame.index)

        def poses(found: tuple[Frame, Any]) -> People:
            frame, boxes = found
            poses = self._poses(frame.image, boxes)
            return People(frame.image, poses, index=frame.index, time=frame.time)

        return boxes, poses

    def _poses(self, image: Image, boxes: Boxes | ArrayLike | None) -> Poses:
        if isinstance(boxes, Boxes):
            labels = boxes.labels if self._labeled else None
            poses = self._pose.detect(image, boxes.boxes)
            poses = replace(poses, scores=boxes.scores, labels=labels)
        else:
            poses = self._pose.detect(image, boxes)
        return self._ordered(poses)

    def _ordered(self, poses: Poses) -> Poses:
        return poses if self._order is None else self._order.apply(poses)

    def _track(self, source: Source, parameters: Mapping[str, Any]) -> Callable[[Frame], People]:
        detector = _BoxesOfFrame(source, self._boxes)
        tracker = PoseTracker(detector if self._finds_boxes else None, self._pose)
        state = tracker.create_state(**parameters)

        def track(frame: Frame) -> People:
            detector.index = frame.index
            found = tracker.step(state, frame.image)
            poses = self._ordered(found.poses)
            return People(frame.image, poses, found.identities, frame.index, frame.time)

        return track


@dataclass
class _BoxesOfFrame:
    """A detector that is asked for the boxes of one frame after the other."""

    source: Source
    boxes: BoxSource
    index: int = 0

    def detect(self, img: Image, /) -> Boxes:
        """Boxes of the current frame; the tracker takes all, of whatever class."""
        found = self.boxes(self.source, img, self.index)
        if not isinstance(found, Boxes):
            raise TypeError("a tracker needs boxes with scores")
        return Boxes(found.boxes, found.scores)
