"""Which pose is which track."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from posedeploy.sdk.tracking.association import associate, pairs
from posedeploy.sdk.tracking.geometry import Floats, keypoint_boxes
from posedeploy.sdk.tracking.motion import Noise
from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.tracks import Measured, Tracks

SHAPES = st.tuples(st.integers(0, 6), st.integers(0, 6))
OPTIONS, SIGMAS = TrackingOptions(), np.full(4, 0.05)
# A figure of 4 keypoints, 40 x 100 px, and the same with its arms elsewhere
TALL = np.array([[20, 0, 1], [0, 40, 1], [40, 40, 1], [20, 100, 1]], float)
OTHER = np.array([[20, 0, 1], [0, 95, 1], [40, 5, 1], [20, 100, 1]], float)


@given(arrays(np.float64, SHAPES, elements=st.floats(0, 1)), st.floats(0, 1))
def test_pairs_are_alike_unique_and_leave_no_pair(alike: Floats, least: float) -> None:
    found = pairs(alike, least)
    rows, columns = found.T
    assert len(set(rows)) == len(set(columns)) == len(found)
    assert (alike[rows, columns] >= least).all()
    assert (np.diff(alike[rows, columns]) <= 0).all()
    left = np.delete(np.delete(alike, rows, 0), columns, 1)
    assert (left < least).all()


def _measured(*keypoints: Floats) -> Measured:
    points = np.stack(keypoints)
    boxes, _ = keypoint_boxes(points, 1.25, 0.5)
    return Measured(points, boxes, np.ones(len(points)))


def _tracks(*keypoints: Floats, missing: tuple[int, ...]) -> Tracks:
    tracks = Tracks.start(np.arange(len(keypoints)), _measured(*keypoints), Noise(0.05, 0.006))
    return replace(tracks, missing=np.array(missing))


def _at(pose: Floats, x: float) -> Floats:
    moved: Floats = pose + np.array([x, 0, 0])
    return moved


def test_of_two_in_one_place_keypoints_tell_them_apart() -> None:
    tracks = _tracks(TALL, OTHER, missing=(0, 0))
    poses = _measured(_at(OTHER, 2), _at(TALL, 2))
    assert sorted(associate(poses, tracks, OPTIONS, SIGMAS).tolist()) == [[0, 1], [1, 0]]


def test_a_pose_that_does_not_agree_goes_to_the_missing_one_who_is_nearer() -> None:
    """Where the one in front has no pose in this frame, the one behind must not take its track."""
    tracks = _tracks(_at(TALL, 12), _at(OTHER, 3), missing=(0, 4))
    poses = _measured(OTHER)
    assert associate(poses, tracks, OPTIONS, SIGMAS).tolist() == [[0, 1]]
    assert associate(poses, tracks, OPTIONS, None).tolist() == [[0, 0]]


def test_boxes_alone_decide_what_keypoints_leave() -> None:
    tracks = _tracks(TALL, missing=(0,))
    assert associate(_measured(OTHER), tracks, OPTIONS, SIGMAS).tolist() == [[0, 0]]
    assert associate(_measured(_at(OTHER, 100)), tracks, OPTIONS, SIGMAS).tolist() == []


def test_who_is_there_comes_before_who_was_missing() -> None:
    tracks = _tracks(_at(TALL, 1), TALL, missing=(0, 1))
    assert associate(_measured(TALL), tracks, OPTIONS, SIGMAS).tolist() == [[0, 0]]
