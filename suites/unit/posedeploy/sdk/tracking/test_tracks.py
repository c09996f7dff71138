"""Rows of tracks, and their prediction."""

from __future__ import annotations

import numpy as np

from posedeploy.sdk.tracking.motion import Noise
from posedeploy.sdk.tracking.smoothing import OneEuro
from posedeploy.sdk.tracking.tracks import Measured, Tracks, join, put, select

NOISE = Noise(1 / 20, 1 / 160)


def _poses(*places: float) -> Measured:
    boxes = np.array([[x, 0, x + 40, 100] for x in places], float)
    keypoints = np.array([[[x + 5, 10, 0.9], [x + 35, 90, 0.8]] for x in places])
    return Measured(keypoints, boxes, np.ones(len(places)))


def _tracks(*places: float) -> Tracks:
    return Tracks.start(np.arange(len(places)), _poses(*places), NOISE)


def test_boxes_and_keypoints_go_where_the_motion_goes() -> None:
    tracks = _tracks(100, 200)
    for step in range(1, 30):
        tracks = tracks.predict(NOISE).correct(_poses(100 + 5 * step, 200), NOISE, None)
    later = tracks.predict(NOISE)
    moved = later.motion.place - tracks.motion.place
    np.testing.assert_allclose(moved, [[5, 0], [0, 0]], atol=0.2)
    np.testing.assert_allclose(later.boxes - tracks.boxes, np.tile(moved, 2))
    np.testing.assert_allclose((later.keypoints - tracks.keypoints)[:, 0, :2], moved)
    np.testing.assert_array_equal(later.keypoints[..., 2], tracks.keypoints[..., 2])


def test_rows_of_every_array_are_chosen_joined_and_changed_together() -> None:
    tracks = _tracks(1, 2, 3)
    chosen = select(tracks, np.array([2, 0]))
    assert chosen.identities.tolist() == [2, 0]
    assert chosen.motion.place[:, 0].tolist() == [23, 21]
    assert chosen.smoothed.points.shape == (2, 2, 2)
    both = join(chosen, tracks)
    assert both.identities.tolist() == [2, 0, 0, 1, 2]
    changed = put(tracks, np.array([1]), select(tracks, np.array([0])))
    assert changed.identities.tolist() == [0, 0, 2]
    assert tracks.identities.tolist() == [0, 1, 2]


def test_a_smoothed_pose_is_between_the_last_and_the_new_one() -> None:
    tracks = _tracks(0).correct(_poses(10), NOISE, OneEuro(0.0, 0.1, 1.0))
    assert 5 < tracks.smoothed.points[0, 0, 0] < 15
    assert tracks.keypoints[0, 0, 0] == 15
