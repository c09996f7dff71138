"""`PoseTracker` step by step: when it detects, what it looks at, who begins and who ends."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk import Boxes, Poses, PoseTracker, TrackedPoses
from posedeploy.sdk.images import Image

FRAME = np.zeros((200, 400, 3), np.uint8)
# A person of 40 x 100 px at x = 0, y = 50; 1.25 times what the keypoints span is the box
POINTS = np.array([[20, 60], [4, 95], [36, 95], [8, 140], [32, 140]], np.float32)
BOX = np.array([0, 50, 40, 150], np.float32)


def _moved(points: NDArray[np.float32], x: float) -> NDArray[np.float32]:
    """Boxes `[…, 4]` or points `[…, 2]`, by so much to the right."""
    moved: NDArray[np.float32] = points + np.array([x, 0] * (points.shape[-1] // 2), np.float32)
    return moved


class World:
    """People at places, as a detector and a pose model see them that do not err."""

    top_down = True

    def __init__(self, *places: float) -> None:
        self.places = list(places)
        self.score = 0.9
        self.labels: list[int] | None = None
        self.hidden: set[int] = set()  # from the detector alone
        self.sure: Callable[[float], float] = lambda _away: 0.9  # score, by px from the box
        self.detections = 0
        self.looked: list[NDArray[np.float32]] = []  # at these boxes, a frame each

    def detector(self) -> Any:
        def detect(_img: Image, /) -> Boxes:
            self.detections += 1
            seen = [x for i, x in enumerate(self.places) if i not in self.hidden]
            boxes = np.array([_moved(BOX, x) for x in seen], np.float32).reshape(-1, 4)
            labels = None if self.labels is None else np.array(self.labels)
            return Boxes(boxes, np.full(len(boxes), self.score, np.float32), labels)

        return SimpleNamespace(detect=detect)

    def detect(self, _img: Image, bboxes: ArrayLike | None = None, /) -> Poses:
        boxes = np.asarray(bboxes, np.float32).reshape(-1, 4)
        self.looked.append(boxes)
        keypoints = np.zeros((len(boxes), len(POINTS), 3), np.float32)
        keypoints[..., :2] = boxes[:, None, :2]  # nobody: in a corner, with a score of 0
        for row, middle in enumerate(boxes[:, [0, 2]].mean(axis=1) - 20):
            places = np.array(self.places or [np.inf])
            near = float(places[np.abs(places - middle).argmin()])
            if abs(near - middle) < 20:
                keypoints[row, :, :2] = _moved(POINTS, near)
                keypoints[row, :, 2] = self.sure(abs(near - middle))
        return Poses(keypoints, boxes, np.ones(len(boxes), np.float32))


class Stream:
    """A tracker of one world, and its state."""

    def __init__(self, world: World, **parameters: Any) -> None:
        self.world = world
        self.tracker = PoseTracker(world.detector(), world)
        self.state = self.tracker.create_state(smooth_params=None, **parameters)

    def step(self, detect: int = -1) -> TrackedPoses:
        return self.tracker.step(self.state, FRAME, detect)

    def who(self, frames: int = 1) -> list[int]:
        """Identities in the last of so many frames."""
        for _ in range(frames - 1):
            self.step()
        return [int(i) for i in self.step().identities]


@pytest.mark.parametrize(
    ("interval", "expected"), [(1, range(7)), (3, (0, 3, 6)), (10, (0,)), (0, ()), (-1, ())]
)
def test_it_detects_at_the_interval(interval: int, expected: Any) -> None:
    world = World(100)
    stream = Stream(world, det_interval=interval)
    found = [stream.step().detected for _ in range(7)]
    assert [i for i, detected in enumerate(found) if detected] == list(expected)
    assert world.detections == len(expected)


def test_a_frame_is_detected_or_not_as_the_caller_wants() -> None:
    stream = Stream(World(100), det_interval=2)
    assert [stream.step(detect).detected for detect in (0, 1, 0, -1, -1)] == [
        False, True, False, False, True,
    ]  # fmt: skip
    with pytest.raises(BadInputError, match="detect: found 2; expected 1 to detect"):
        stream.step(2)


def test_between_detections_boxes_come_from_keypoints() -> None:
    world = World(100, 200)
    stream = Stream(world, det_interval=5)
    for _ in range(5):
        assert stream.who() == [0, 1]
        world.places = [x + 6 for x in world.places]
    for shift, boxes in zip(range(0, 30, 6), world.looked, strict=True):
        expected = BOX + np.array([[100 + shift, 0] * 2, [200 + shift, 0] * 2])
        np.testing.assert_allclose(boxes[np.argsort(boxes[:, 0])], expected, atol=7)


def test_two_streams_of_one_tracker_know_nothing_of_each_other() -> None:
    world = World(100)
    tracker = PoseTracker(world.detector(), world)
    first, second = tracker.create_state(), tracker.create_state()
    tracker.batch([first, second], [FRAME, FRAME])
    world.places = [100, 200]
    results = tracker.batch([first, second], [FRAME, FRAME], [1, 0])
    assert [identities.tolist() for _, _, identities in results] == [[0, 1], [0]]
    with pytest.raises(BadInputError, match="2 states, 1 frames"):
        tracker.batch([first, second], [FRAME])


@pytest.mark.parametrize("missing", [0, 1, 5])
def test_a_track_may_be_missing_so_long_and_no_longer(missing: int) -> None:
    for frames, expected in ((missing, [0]), (missing + 1, [1])):
        world = World(100)
        stream = Stream(world, track_max_missing=missing)
        assert stream.who(3) == [0]
        world.places = []
        for _ in range(frames):
            assert stream.who() == []
        world.places = [100]
        assert stream.who() == expected


def test_who_walks_out_and_comes_back_at_once_is_somebody_new() -> None:
    world = World(330)
    stream = Stream(world, track_max_missing=50)
    while world.places[0] < 379:
        assert stream.who() == [0]
        world.places[0] += 6
    world.places = []
    assert stream.who() == []
    world.places = [378]  # where the one who left would be
    assert stream.who() == [1]


def test_whom_the_detector_misses_is_found_around_the_keypoints() -> None:
    world = World(100, 200)
    stream = Stream(world)
    assert stream.who(2) == [0, 1]
    world.hidden = {0}
    assert stream.who(5) == [0, 1]


@pytest.mark.parametrize(("interval", "most"), [(1, 11), (5, 15), (20, 60)])
def test_whom_the_detector_never_confirms_is_nobody(interval: int, most: int) -> None:
    """A pose model that finds somebody in every box must not keep a track for ever."""
    world = World(100)
    stream = Stream(world, det_interval=interval)
    assert stream.who() == [0]
    world.hidden = {0}
    assert stream.who(most) == []
    assert stream.who(100) == []


def test_a_box_with_a_low_score_confirms_and_begins_nothing() -> None:
    world = World(100)
    stream = Stream(world)
    world.score = 0.2
    assert stream.who(3) == []
    world.score = 0.9
    assert stream.who() == [0]
    world.score = 0.2
    assert stream.who(40) == [0]


def test_boxes_of_other_classes_or_too_small_begin_nothing() -> None:
    world = World(100, 200)
    world.labels = [0, 3]
    assert len(Stream(world).step().identities) == 1
    assert Stream(world, det_label=3).step().poses.boxes[0, 0] == 200
    assert Stream(world, det_min_bbox_size=64).who() == []
    assert len(Stream(world, det_min_bbox_size=63).who()) == 1


def test_poses_with_few_keypoints_or_too_small_are_nobody() -> None:
    world = World(100)
    assert Stream(world, pose_kpt_thr=0.95).who() == []
    assert Stream(world, pose_kpt_thr=0.95, pose_min_keypoints=0).who() == []
    assert Stream(world, pose_min_keypoints=6).who() == []
    assert Stream(world, pose_min_bbox_size=70).who() == []


def test_as_many_boxes_go_to_the_pose_model_as_are_asked_for() -> None:
    world = World(0, 100, 200)
    stream = Stream(world, pose_max_num_bboxes=2, det_interval=2)
    assert stream.who(4) == [0, 1]
    assert [len(boxes) for boxes in world.looked] == [2, 2, 2, 2]


def test_who_is_tracked_goes_to_the_pose_model_first() -> None:
    world = World(300)
    stream = Stream(world, pose_max_num_bboxes=1)
    assert stream.who() == [0]
    world.places = [0, 100, 300]
    assert stream.who() == [0]


def test_a_pose_around_keypoints_that_is_no_tracks_begins_none() -> None:
    world = World(100)
    stream = Stream(world, det_interval=0)
    assert stream.step(1).identities.tolist() == [0]
    world.places = [119]  # in the box, and too far from the track
    assert stream.who() == []


def test_where_a_missing_one_may_be_nobody_else_is_found() -> None:
    world = World(100, 115)
    stream = Stream(world, det_interval=0, det_nms_thr=1.0)
    assert stream.step(1).identities.tolist() == [0, 1]
    world.places = [100]
    world.sure = lambda away: 0.95 if away > 5 else 0.9  # surer in the other's box
    assert stream.who() == [0]
    for _ in range(3):
        people = stream.step()
        assert people.identities.tolist() == [0]
        assert people.poses.boxes[0, 0] == pytest.approx(100, abs=1)


def test_nobody_is_looked_for_outside_the_image() -> None:
    world = World(375)
    stream = Stream(world, det_interval=0, track_max_missing=50)
    stream.step(1)
    for _ in range(8):
        world.places[0] += 6
        stream.step()
    assert len(world.looked[-1]) == 0


def test_somebody_found_twice_is_one() -> None:
    world = World(100, 110)
    assert Stream(world).who(2) == [0]
    assert len(world.looked[0]) == 2
    world = World(100, 103)  # boxes that are the same person's
    assert Stream(world).who(2) == [0]
    assert [len(boxes) for boxes in world.looked] == [1, 1]


def test_a_call_gives_what_mmdeploys_gives() -> None:
    world = World(100, 370)
    stream = Stream(world)
    keypoints, boxes, identities = stream.tracker(stream.state, FRAME)
    assert [array.dtype.name for array in (keypoints, boxes, identities)] == [
        "float32", "float32", "uint32",
    ]  # fmt: skip
    assert keypoints.shape == (2, 5, 3)
    np.testing.assert_allclose(keypoints[0, :, :2], _moved(POINTS, 100))
    assert boxes.tolist() == [[100, 50, 140, 150], [370, 50, 400, 150]]  # within the image
    assert identities.tolist() == [0, 1]
    keypoints, boxes, identities = stream.tracker(stream.tracker.create_state(), FRAME, detect=0)
    assert (keypoints.shape, boxes.shape, identities.shape) == ((0, 5, 3), (0, 4), (0,))


def test_scores_are_those_of_the_detector() -> None:
    stream = Stream(World(100), det_interval=2)
    assert [stream.step().poses.scores.tolist() for _ in range(2)] == [[np.float32(0.9)]] * 2


def test_smoothing_moves_keypoints_and_begins_anew_after_a_gap() -> None:
    world = World(100)
    tracker = PoseTracker(world.detector(), world)
    people = tracker.track(iter([FRAME] * 20), smooth_params=(0.0, 0.02, 1.0), det_interval=1)
    first = next(people).poses.keypoints
    world.places = [104]
    second = next(people).poses.keypoints
    assert (second[..., 0] > first[..., 0]).all()
    assert (second[..., 0] < first[..., 0] + 1).all()
    assert (second[..., 2] == first[..., 2]).all()
    world.places = []
    assert len(next(people).identities) == 0
    world.places = [108]
    again = next(people)
    assert again.identities.tolist() == [0]
    np.testing.assert_allclose(again.poses.keypoints[0, :, :2], _moved(POINTS, 108))


class Bottom:
    """A pose model that finds two people itself."""

    top_down = False

    def __init__(self) -> None:
        self.world = World(100, 200)

    def detect(self, img: Image, bboxes: ArrayLike | None = None, /) -> Poses:
        assert bboxes is None
        boxes = self.world.detector().detect(img)
        poses = self.world.detect(img, boxes.boxes)
        return Poses(poses.keypoints, boxes.boxes, np.array([0.9, 0.4], np.float32))


def test_people_that_the_pose_model_finds_itself_are_tracked() -> None:
    pose = Bottom()
    tracker = PoseTracker(None, pose)
    found = list(tracker.track([FRAME] * 3, det_interval=2))
    assert [people.identities.tolist() for people in found] == [[0]] * 3
    assert all(people.detected for people in found)
    found = list(tracker.track([FRAME] * 3, det_thr=0.3))
    assert [people.identities.tolist() for people in found] == [[0, 1]] * 3


def test_a_detector_fits_the_pose_model_or_is_refused() -> None:
    world = World()
    with pytest.raises(BadInputError, match="the pose model takes boxes"):
        PoseTracker(None, world)
    with pytest.raises(BadInputError, match="finds the people itself"):
        PoseTracker(world.detector(), Bottom())


def test_sigmas_are_those_of_the_data_set_and_must_fit_where_they_are_given() -> None:
    world: Any = World(100)
    world.dataset_meta = SimpleNamespace(sigmas=(0.1,) * 5)
    stream = Stream(world)
    assert stream.state.sigmas is not None
    assert stream.state.sigmas.tolist() == [0.1] * 5
    stream = Stream(world, keypoint_sigmas=[0.05] * 4)
    with pytest.raises(BadInputError, match=r"keypoint_sigmas\): found 4 numbers; expected 5"):
        stream.step()
    world.dataset_meta = SimpleNamespace(sigmas=(0.1,) * 17)  # of other keypoints: boxes alone
    assert Stream(world).who(2) == [0]


def test_what_is_no_image_is_refused() -> None:
    with pytest.raises(BadInputError):
        PoseTracker(World().detector(), World()).step(Stream(World()).state, FRAME[..., :2])


def test_a_frame_that_fails_leaves_the_state_as_it_was() -> None:
    world = World(100)
    stream = Stream(world, det_interval=2)
    assert stream.who() == [0]
    tracks = stream.state.tracks

    def fails(_img: Image, _boxes: ArrayLike | None = None, /) -> Poses:
        raise BadInputError("graph", "a failure", "none", "Try again.")

    broken = PoseTracker(world.detector(), SimpleNamespace(detect=fails))
    with pytest.raises(BadInputError, match="a failure"):
        broken.step(stream.state, FRAME)
    assert (stream.state.frame, stream.state.newest) == (1, 0)
    assert stream.state.tracks is tracks
    assert stream.who() == [0]
