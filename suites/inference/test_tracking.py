"""Identities of drawn figures that walk, cross, turn round, leave and return.

The detector and the pose model know where the figures are, and err: what is judged is the tracker.
MOTA, IDF1, switches and transfers are computed by motmetrics (Bernardin and Stiefelhagen 2008;
Ristani et al. 2016); a person behind another counts as missed.  Planted faults must be found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import motmetrics
import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.tracking import KnowingDetector, KnowingPoses, Watched
from fixtures.walking_figures import walking
from posedeploy.sdk import PoseDetector, PoseTracker, TrackedPoses
from posedeploy.sdk.images import Image
from posedeploy.sdk.tracking import TrackerState
from posedeploy.sdk.tracking.geometry import iou
from posedeploy.synthetic.drawn import SIGMAS

SEEDS = (0, 1, 2)
# Frames that one figure hides another, at walking pace, are up to 16; MMDeploy's default is 10.
PARAMETERS: Mapping[str, Any] = {"keypoint_sigmas": SIGMAS, "track_max_missing": 20}
ALIKE = 0.3  # IoU of what the keypoints span from which a pose is that of a person


@dataclass(frozen=True)
class Case:
    """A scene, the frames from one detection to the next, and the MOTA that is right for it."""

    scene: str
    interval: int
    mota: tuple[float, float]  # smallest and largest of 20 seeds, and 0.01 to either side


# fmt: off
CASES = (
    Case("cross",            1, (0.865, 0.935)),
    Case("cross",            5, (0.836, 0.902)),
    Case("leave and return", 1, (0.982, 1.0)),
    Case("leave and return", 5, (0.872, 0.976)),
    Case("turn",             1, (0.984, 1.0)),
    Case("walk",             1, (0.986, 1.0)),
    Case("walk",             5, (0.969, 1.0)),
)
# fmt: on
Tracker = Callable[[KnowingDetector, KnowingPoses], PoseTracker]


def judge(case: Case, tracker: Tracker = PoseTracker, **parameters: Any) -> list[str]:
    """What is wrong with a tracker in a scene, a line each."""
    wrong = []
    for seed in SEEDS:
        watched = Watched(walking(case.scene, seed=seed), seed=seed)
        tracked = tracker(KnowingDetector(watched), KnowingPoses(watched))
        options = {**PARAMETERS, "det_interval": case.interval, **parameters}
        found = list(tracked.track(watched.frames(), **options))
        due = list(range(0, watched.scene.frames, case.interval))
        if watched.detections != due or [i for i, one in enumerate(found) if one.detected] != due:
            wrong.append(f"detections: seed {seed}, {len(watched.detections)} for {len(due)}")
        score = measured(watched, found)
        if not case.mota[0] <= score["mota"] <= case.mota[1]:
            wrong.append(f"MOTA: seed {seed}, {score['mota']:.3f} not in {case.mota}")
        wrong += [
            f"{name}: seed {seed}, {score[name]:.0f}"
            for name in ("num_switches", "num_transfer") if score[name]
        ]  # fmt: skip
    return wrong


def measured(watched: Watched, found: list[TrackedPoses]) -> Mapping[str, float]:
    accumulator = motmetrics.MOTAccumulator(auto_id=True)
    for truth, people in zip(watched.truths, found, strict=True):
        distance = 1 - iou(span(truth.keypoints), span(people.poses.keypoints))
        distance = np.where(distance > 1 - ALIKE, np.nan, distance)
        accumulator.update(truth.identities.tolist(), people.identities.tolist(), distance)
    names = ["mota", "num_switches", "num_transfer"]
    scores: Mapping[str, float] = (
        motmetrics.metrics.create()
        .compute(accumulator, metrics=names, name="x")
        .loc["x"]
        .to_dict()
    )
    return scores


def span(keypoints: NDArray[np.float32]) -> NDArray[np.float32]:
    points = keypoints[..., :2]
    return np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.scene}, every {case.interval}")
def test_everybody_keeps_the_identity_and_who_returns_gets_a_new_one(case: Case) -> None:
    assert judge(case) == []


class Swapping(PoseTracker):
    """Who comes out of a crossing has the other's identity."""

    def step(self, state: TrackerState, frame: Image, detect: int = -1) -> TrackedPoses:
        people = super().step(state, frame, detect)
        half = people.identities.copy()
        if state.frame > 40 and {0, 1} <= set(half.tolist()):
            half[people.identities < 2] = 1 - people.identities[people.identities < 2]
        return TrackedPoses(people.poses, half, people.detected)


class Eager(PoseTracker):
    """Detects in every frame."""

    def step(self, state: TrackerState, frame: Image, detect: int = -1) -> TrackedPoses:
        del detect
        return super().step(state, frame, 1)


class Saving(PoseTracker):
    """Gives numbers again that are free."""

    def create_state(self, **parameters: Any) -> TrackerState:
        state = super().create_state(**parameters)
        return _SavingState(state.options, SIGMAS)


class _SavingState(TrackerState):
    def new_identities(self, count: int) -> NDArray[np.int64]:
        return np.setdiff1d(np.arange(100), self.tracks.identities)[:count]


@dataclass(frozen=True)
class Fault:
    """A tracker that is wrong, where that shows, and how."""

    name: str
    scene: str
    interval: int
    shows: str
    tracker: Tracker = PoseTracker
    parameters: Mapping[str, Any] | None = None


# fmt: off
FAULTS = (
    Fault("detects in every frame",         "walk",             5, "detections",   Eager),
    Fault("every new track ends at once",   "cross",            1, "num_switches",
          parameters={"track_max_missing": 0}),
    Fault("gives numbers again",            "leave and return", 1, "num_transfer", Saving),
    Fault("keypoints do not count",         "cross",            1, "num_switches",
          parameters={"keypoint_sigmas": None}),
    Fault("nobody moves",                   "cross",            5, "num_switches",
          parameters={"std_weight_velocity": 0.0}),
    Fault("swaps at a crossing",            "turn",             1, "num_switches", Swapping),
)
# fmt: on


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_found(fault: Fault) -> None:
    (case,) = [one for one in CASES if (one.scene, one.interval) == (fault.scene, fault.interval)]
    wrong = judge(case, fault.tracker, **(fault.parameters or {}))
    assert any(line.startswith(fault.shows) for line in wrong), wrong


FRAMES = (0, 1, 2, 30, 31)


def _pairs(folder: Path, **parameters: Any) -> list[tuple[TrackedPoses, NDArray[np.float32]]]:
    """What a tracker gives, and the pose model's keypoints in the same boxes of the same frame."""
    watched = Watched(walking("cross", frames=32))
    with PoseDetector(folder) as pose:
        tracker = PoseTracker(KnowingDetector(watched), pose)
        state = tracker.create_state(pose_kpt_thr=-9.0, **parameters)
        found = []
        for watched.frame in FRAMES:
            image = watched.scene.image(watched.frame)
            people = tracker.step(state, image)
            found.append((people, pose(image, people.poses.boxes)))
    return found


@pytest.mark.onnxruntime
def test_keypoints_are_those_of_the_pose_model_in_the_same_boxes(
    tiny_sdk: Callable[[str], Path],
) -> None:
    found = _pairs(tiny_sdk("rtmpose_t"), smooth_params=None)
    for people, expected in found:
        assert len(people.identities)
        np.testing.assert_array_equal(people.poses.keypoints, expected)


@pytest.mark.onnxruntime
def test_that_comparison_finds_keypoints_that_were_changed(
    tiny_sdk: Callable[[str], Path],
) -> None:
    smoothed = _pairs(tiny_sdk("rtmpose_t"), smooth_params=(0.0, 0.01, 1.0))
    assert any((people.poses.keypoints != expected).any() for people, expected in smoothed)
