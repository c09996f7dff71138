"""`PoseTracker`: people in the frames of a video, each with an identity.

In every frame: predict where the tracked people are; detect boxes, or take those around the
predicted keypoints; find poses in them; find out which pose is which track.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.images import Image, check_image
from posedeploy.sdk.poses import Poses
from posedeploy.sdk.tracking.association import associate, similarity
from posedeploy.sdk.tracking.geometry import Floats, clipped, iou, keypoint_boxes, suppress
from posedeploy.sdk.tracking.motion import Noise
from posedeploy.sdk.tracking.options import TrackingOptions, tracking_options
from posedeploy.sdk.tracking.proposals import DETECTED, MISSING, chosen, confirmed, propose
from posedeploy.sdk.tracking.protocols import FindsBoxes, FindsPoses
from posedeploy.sdk.tracking.smoothing import OneEuro
from posedeploy.sdk.tracking.tracks import Measured, Tracks, join, put, select

Size = tuple[int, int]  # width, height in px


@dataclass(frozen=True)
class TrackedPoses:
    """People in one frame, by rising identity."""

    poses: Poses  # keypoints smoothed if asked for; boxes as the pose model was given them
    identities: NDArray[np.int64]  # `[n]`: from 0, each given once
    detected: bool  # True if boxes were detected in this frame, False if all are from keypoints


class TrackerState:
    """What is known of one stream; made by `PoseTracker.create_state`."""

    def __init__(self, options: TrackingOptions, sigmas: Sequence[float] | None) -> None:
        self.options = options
        self.sigmas = None if sigmas is None else np.asarray(sigmas, np.float64)
        self.noise = Noise(options.std_weight_position, options.std_weight_velocity)
        smooth = options.smooth_params
        self.one_euro = None if smooth is None else OneEuro(*smooth)
        self.frame = 0  # how many frames there were
        self.newest = -1  # the last identity that was given
        self.tracks = _no_tracks(0, self.noise)

    def due(self, detect: int) -> bool:
        """Whether this frame is one for the detector."""
        if detect not in {-1, 0, 1}:
            expected = "1 to detect, 0 not to, -1 to go by det_interval"
            raise BadInputError("detect", repr(detect), expected, "Pass one of these.")
        interval = self.options.det_interval
        return bool(detect) if detect >= 0 else interval > 0 and self.frame % interval == 0

    def new_identities(self, count: int) -> NDArray[np.int64]:
        """Identities that nobody had."""
        first = self.newest + 1
        self.newest += count
        return np.arange(first, first + count)


class PoseTracker:
    """Finds people in the frames of a video and follows them.

    One tracker serves any number of streams: what is known of a stream is in its state. People who
    cross keep their identities, and people who left and return get new ones.

    Args:
        detector: Finds boxes of people, such as `PersonDetector`; None for a pose model that finds
            the people itself (YOLOX-Pose, RTMO), which then runs in every frame.
        pose: Finds keypoints in boxes, such as `PoseDetector`.

    Raises:
        BadInputError: No detector for a top-down model, or one for another.

    Example:
        >>> tracker = PoseTracker(PersonDetector("work/yoloxpose_tiny"),
        ...                       PoseDetector("work/rtmpose_s"))            # doctest: +SKIP
        >>> for people in tracker.track(frames, det_interval=5):             # doctest: +SKIP
        ...     print(people.identities, people.poses.keypoints)
        >>> state = tracker.create_state(det_interval=5)                     # doctest: +SKIP
        >>> keypoints, boxes, identities = tracker(state, frame)             # doctest: +SKIP
    """

    def __init__(self, detector: FindsBoxes | None, pose: FindsPoses) -> None:
        top_down = getattr(pose, "top_down", detector is not None)
        if top_down and detector is None:
            raise BadInputError(
                "PoseTracker(detector)", "None", "a detector: the pose model takes boxes",
                "Pass PersonDetector(FOLDER).",
            )  # fmt: skip
        if detector is not None and not top_down:
            raise BadInputError(
                "PoseTracker(detector)", "a detector",
                "None: the pose model finds the people itself", "Leave the detector out.",
            )  # fmt: skip
        self.detector, self.pose = detector, pose

    def create_state(self, **parameters: Any) -> TrackerState:
        """What a stream needs before its first frame.

        Args:
            parameters: Fields of `TrackingOptions`, by MMDeploy's names.

        Raises:
            BadInputError: A name that is none of them, or a value that does not fit.
        """
        options = tracking_options(parameters)
        meta = getattr(self.pose, "dataset_meta", None)
        known = getattr(meta, "sigmas", None) or None
        return TrackerState(options, options.keypoint_sigmas or known)

    def __call__(
        self, state: TrackerState, frame: Image, detect: int = -1
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32]]:
        """Keypoints, boxes and identities of the people in the next frame, as MMDeploy gives them.

        Args:
            state: Of this stream.
            frame: `[H, W, 3]` uint8, BGR.
            detect: 1 to detect in this frame, 0 not to, -1 to go by `det_interval`.

        Returns:
            Keypoints `[n, K, 3]`: x, y in px, score. Boxes `[n, 4]` around them: left, top, right,
            bottom in px. Identities `[n]`.

        Raises:
            BadInputError: Not an image, or what the detector or the pose model refuses.
        """
        people, options = self.step(state, frame, detect), state.options
        keypoints = people.poses.keypoints
        boxes, _ = keypoint_boxes(keypoints, options.pose_bbox_scale, options.pose_kpt_thr)
        boxes = clipped(boxes, (frame.shape[1], frame.shape[0])).astype(np.float32)
        return keypoints, boxes, people.identities.astype(np.uint32)

    def batch(
        self, states: Sequence[TrackerState], frames: Sequence[Image], detects: Sequence[int] = ()
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint32]]]:
        """The same for the next frame of several streams."""
        if not len(states) == len(frames) == len(detects or frames):
            found = f"{len(states)} states, {len(frames)} frames and {len(detects)} detects"
            raise BadInputError("batch", found, "one of each for a stream", "Pass as many.")
        each = zip(states, frames, detects or [-1] * len(frames), strict=True)
        return [self(state, frame, detect) for state, frame, detect in each]

    def track(self, frames: Iterable[Image], **parameters: Any) -> Iterator[TrackedPoses]:
        """People in each frame of one stream; `parameters` are those of `create_state`."""
        state = self.create_state(**parameters)
        return (self.step(state, frame) for frame in frames)

    def step(self, state: TrackerState, frame: Image, detect: int = -1) -> TrackedPoses:
        """People in the next frame of a stream; arguments and errors as of a call."""
        image, due = check_image(frame), state.due(detect)
        size = image.shape[1], image.shape[0]
        tracks = state.tracks.predict(state.noise)
        found = self.detector.detect(image) if self.detector and due else None
        if found is not None:
            known = confirmed(found, tracks, state.options)
            tracks = replace(tracks, unconfirmed=np.where(known, 0, tracks.unconfirmed + 1))
        if self.detector is None:
            poses, sources = self._own_people(image, state.options)
        else:
            proposals = propose(found, tracks, size, state.options)
            poses, sources = self.pose.detect(image, proposals.boxes), proposals.sources
            poses = replace(poses, scores=proposals.scores.astype(np.float32))
        rows, identities = _update(state, tracks, poses, sources, size)
        poses = poses.select(rows)
        if state.one_euro is not None:
            seen = state.tracks.missing == 0
            points = state.tracks.smoothed.points[seen].astype(np.float32)
            keypoints = np.concatenate([points, poses.keypoints[..., 2:]], axis=-1)
            poses = replace(poses, keypoints=keypoints)
        state.frame += 1
        return TrackedPoses(poses, identities, self.detector is None or due)

    def _own_people(
        self, image: Image, options: TrackingOptions
    ) -> tuple[Poses, NDArray[np.int64]]:
        """The people that the pose model finds itself, as far as the options admit them."""
        poses = self.pose.detect(image)
        rows = chosen(Boxes(poses.boxes, poses.scores, poses.labels), options)
        if options.pose_max_num_bboxes >= 0:
            rows = rows[: options.pose_max_num_bboxes]
        return poses.select(rows), np.full(len(rows), DETECTED)


def _no_tracks(keypoints: int, noise: Noise) -> Tracks:
    none = Measured(np.zeros((0, keypoints, 3)), np.zeros((0, 4)), np.zeros(0))
    return Tracks.start(np.zeros(0, np.int64), none, noise)


def _update(
    state: TrackerState, tracks: Tracks, poses: Poses, sources: NDArray[np.int64], size: Size
) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Bring the tracks up to the poses in this frame; the poses of people, and who they are."""
    options, noise = state.options, state.noise
    if not len(tracks.identities):  # the number of keypoints is known now
        tracks = _no_tracks(poses.keypoints.shape[1], noise)
    sigmas = _sigmas(state, poses.keypoints.shape[1])
    boxes, number = keypoint_boxes(poses.keypoints, options.pose_bbox_scale, options.pose_kpt_thr)
    measured = Measured(poses.keypoints.astype(np.float64), boxes.astype(np.float64), poses.scores)
    people = _people(measured, number, sources, options, sigmas)
    measured, rows = select(measured, people), people
    matched = associate(measured, tracks, options, sigmas)
    of_pose, of_track = matched.T
    corrected = select(tracks, of_track).correct(select(measured, of_pose), noise, state.one_euro)
    row = np.full(len(tracks.identities), -1)
    row[of_track] = rows[of_pose]
    tracks = replace(tracks, missing=tracks.missing + 1)
    tracks = put(tracks, of_track, corrected)
    stays = _stays(tracks, size, options)
    free = np.ones(len(people), bool)
    free[of_pose] = False
    free &= sources[people] == DETECTED
    new = Tracks.start(state.new_identities(int(free.sum())), select(measured, free), noise)
    state.tracks = join(select(tracks, stays), new)
    row = np.concatenate([row[stays], rows[free]])
    seen = state.tracks.missing == 0
    return row[seen], state.tracks.identities[seen]


def _sigmas(state: TrackerState, keypoints: int) -> Floats | None:
    """Constants of OKS `[K]`; None where the data set's are of other keypoints."""
    sigmas = state.sigmas
    if sigmas is None or len(sigmas) == keypoints:
        return sigmas
    if state.options.keypoint_sigmas:
        raise BadInputError(
            "create_state(keypoint_sigmas)", f"{len(sigmas)} numbers",
            f"{keypoints}, one for each keypoint of the pose model", "Pass the data set's.",
        )  # fmt: skip
    return None


def _people(
    poses: Measured,
    number: NDArray[np.intp],
    sources: NDArray[np.int64],
    options: TrackingOptions,
    sigmas: Floats | None,
) -> NDArray[np.intp]:
    """Rows of the poses that are people, each person once."""
    least = options.pose_min_keypoints
    least = (poses.keypoints.shape[1] + 1) // 2 if least < 0 else least
    right = (number >= max(1, least)) & (poses.sizes >= options.pose_min_bbox_size)
    # as in MMDeploy: what was looked for where a missing person may be gives way to others
    total = poses.keypoints[..., 2].sum(axis=1)
    order = np.lexsort((-total, sources == MISSING))
    order = order[right[order]]
    if sigmas is None:
        alike = iou(poses.boxes, poses.boxes)
    else:
        alike = similarity(poses, poses, sigmas, options)
    return np.flatnonzero(suppress(order, alike, options.pose_nms_thr))


def _stays(tracks: Tracks, size: Size, options: TrackingOptions) -> NDArray[np.bool_]:
    """Which tracks go on.

    Those end that were missing for too long, or whose person walked out of the image.
    """
    middle = tracks.motion.place
    outside = ((middle < 0) | (middle >= size)).any(axis=1) & (tracks.missing > 0)
    stays: NDArray[np.bool_] = ~(outside | (tracks.missing > options.track_max_missing))
    return stays
