"""Boxes in which the pose model looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posedeploy.sdk import Boxes
from posedeploy.sdk.tracking.motion import Noise
from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.proposals import DETECTED, MISSING, TRACKED, propose
from posedeploy.sdk.tracking.tracks import Measured, Tracks

SIZE, OPTIONS = (400, 200), TrackingOptions()


def _tracks(*boxes: tuple[float, float, float, float], missing: int = 0) -> Tracks:
    array = np.array(boxes, float)
    poses = Measured(np.zeros((len(boxes), 5, 3)), array, np.full(len(boxes), 0.8))
    tracks = Tracks.start(np.arange(len(boxes)), poses, Noise(1 / 20, 1 / 160))
    return replace(tracks, missing=np.full(len(boxes), missing))


@pytest.mark.parametrize("missing", [0, 1])
def test_boxes_are_within_the_image_and_not_empty(missing: int) -> None:
    tracks = _tracks((-90, 0, -50, 100), (380, 50, 420, 150), (0, 10, 20, 10.5), missing=missing)
    found = propose(None, tracks, SIZE, OPTIONS)
    assert found.boxes.tolist() == [[380, 50, 400, 150], [0, 10, 20, 10.5]]
    assert found.sources.tolist() == [[TRACKED, MISSING][missing]] * 2
    small = propose(None, tracks, SIZE, TrackingOptions(pose_min_bbox_size=10))
    assert small.boxes.tolist() == [[380, 50, 400, 150]]


def test_where_there_is_a_detection_missing_tracks_are_not_looked_for() -> None:
    box = np.array([[100, 50, 140, 150]], np.float32)
    detected = Boxes(box, np.array([0.7], np.float32))
    tracks = _tracks((300, 50, 340, 150), missing=2)
    found = propose(detected, tracks, SIZE, OPTIONS)
    assert found.boxes.tolist() == box.tolist()
    assert found.sources.tolist() == [DETECTED]
    assert found.scores.tolist() == [pytest.approx(0.7)]
    assert len(propose(None, tracks, SIZE, OPTIONS).boxes) == 1
