"""A client's answers against mmpose's: nothing missing, nothing made up, nothing off."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fixtures.builders import make_people, make_reference, make_truth
from poseconform.checks.sdk import judge_client
from poseconform.compare.tolerances import Tolerance, tolerance_for
from poseconform.reference.values import RefError, Sample
from poseconform.subject.clients import ClientAnswer, posedeploy_sdk

ROW, HALF = tolerance_for("onnxruntime", "fp32"), tolerance_for("onnxruntime", "fp16")
assert HALF is not None
POINTS = np.random.default_rng(0).uniform(0, 300, (2, 1, 17, 2))


def top_down(moved: float = 0.0, *, tie: bool = False, row: Tolerance = ROW) -> tuple[str, ...]:
    outputs = {"output": np.zeros((2, 17, 4, 4))}
    reference = make_reference(outputs, image_keypoints=tuple(POINTS))
    gap = np.ones((2, 17))
    gap[0, 3] = 0.0 if tie else 1.0
    got = POINTS.copy()
    got[0, 0, 3, 0] += moved
    answers = [ClientAnswer(points, np.ones(1)) for points in got]
    return judge_client(answers, replace(reference, argmax_gap=gap), row, 1).failures


def test_mmposes_own_keypoints_pass() -> None:
    assert top_down() == ()
    assert top_down(0.05) == ()


@pytest.mark.parametrize(("score", "fails"), [(0.5, False), (0.5 + 1e-5, False), (1.0, True),
                                              (math.nan, True)])  # fmt: skip
def test_scores_of_keypoints_are_mmposes(score: float, fails: bool) -> None:
    """A client that gives every keypoint 1, as MMDeploy's does for regression models, is seen."""
    reference = make_reference(
        {"output": np.ones((2, 17, 4))}, ref_error=RefError(1e-5, 1e-6, 1.0, 1.0),
        image_keypoints=tuple(POINTS), scores=np.full((2, 17), 0.5),
    )  # fmt: skip
    scores = np.full((1, 17), 0.5)
    scores[0, 3] = score
    answers = [ClientAnswer(points, np.ones(1), None, scores) for points in POINTS]
    failures = judge_client(answers, reference, ROW, 1).failures
    assert bool(failures) == fails
    assert all("a score of a keypoint is" in failure for failure in failures)
    int8 = tolerance_for("onnxruntime", "int8")
    assert judge_client(answers, reference, int8, 1).failures == ()


def test_a_keypoint_off_is_a_failure_unless_it_is_a_near_tie() -> None:
    (failure,) = top_down(7.0)
    assert "px off at the 99th percentile (at most 7 px)" in failure
    assert top_down(7.0, tie=True) == ()
    assert top_down(7.0, row=HALF) == ()


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("row", [ROW, HALF], ids=["fp32", "fp16"])
def test_a_keypoint_that_is_no_number_is_always_a_failure(tie: bool, row: Tolerance) -> None:
    assert top_down(math.nan, tie=tie, row=row) == (
        "a keypoint through the SDK client is not finite",
    )


@pytest.mark.parametrize(("moved", "failures"), [(5, 0), (3, 1)])
def test_near_ties_are_those_of_the_selected_keypoints(moved: int, failures: int) -> None:
    """With `output_keypoint_indices` an image has other keypoints than the outputs."""
    selected = np.asarray([2, 5, 3])
    gap = np.ones((2, 17))
    gap[0, 5] = 0.0
    reference = make_reference(
        {"output": np.zeros((2, 17, 4, 4))}, image_keypoints=tuple(POINTS[:, :, selected])
    )
    got = POINTS.copy()
    got[0, 0, moved, 0] += 7.0
    answers = [ClientAnswer(points[:, selected], np.ones(1)) for points in got]
    judged = replace(reference, argmax_gap=gap, selected=selected)
    assert len(judge_client(answers, judged, ROW, 1).failures) == failures


def test_no_answer_is_no_pass_and_another_count_of_people_is_named() -> None:
    reference = make_reference({"output": np.zeros((2, 17, 4, 4))}, image_keypoints=tuple(POINTS))
    assert judge_client([], reference, ROW, 1).failures == ("the client gave no answer",)
    nobody = ClientAnswer(np.zeros((0, 17, 2)), np.zeros(0))
    answers = [nobody, ClientAnswer(POINTS[1], np.ones(1))]
    assert judge_client(answers, reference, ROW, 1).failures == (
        "sample 0: keypoints [0, 17, 2]; expected [1, 17, 2]",
    )


def bottom_up(
    kept: list[int], moved: float = 0.0, places: int = 4, **truth: Any
) -> tuple[str, ...]:
    people = make_people([0.9, 0.7, 0.5, 0.3])
    reference = make_reference(
        truths=[make_truth(people, **truth)],
        image_keypoints=(people.keypoints,),
        image_scores=(people.scores,),
    )
    got = people.keypoints[kept].astype(np.float64)
    got[:, :, 0] += moved
    answer = ClientAnswer(got, people.scores[kept].astype(np.float64))
    return judge_client([answer], reference, ROW, places).failures


def test_all_people_in_any_order_pass() -> None:
    assert bottom_up([0, 1, 2, 3]) == ()
    assert bottom_up([2, 0, 3, 1]) == ()


def test_a_missing_person_is_seen_where_there_is_place() -> None:
    assert bottom_up([0, 2, 3]) == (
        "sample 0: 1 people of the reference are missing among 3 (there is room for 4)",
    )
    assert bottom_up([0, 1], places=2) == ()
    assert bottom_up([1], places=2)
    assert bottom_up([0, 1, 2], stable=[True, True, True, False]) == ()


def test_nobody_found_and_somebody_made_up_are_seen() -> None:
    assert "0 of 0 people are not among" in bottom_up([])[0]
    far = bottom_up([0, 1, 2, 3], moved=30.0)
    assert "4 of 4 people are not among the reference's 4" in far[0]


def test_people_that_are_off_are_seen() -> None:
    assert "px off at the 99th percentile" in bottom_up([0, 1, 2, 3], moved=1.0)[0]


def classified(labels: list[int] | None, ties: list[bool]) -> tuple[str, ...]:
    """The verdict on people of these classes, in another order than the reference's."""
    people = make_people([0.9, 0.7, 0.5])
    people = replace(people, labels=np.array([1, 0, 1]), class_ties=np.array(ties))
    reference = make_reference(
        truths=[make_truth(people)],
        image_keypoints=(people.keypoints,),
        image_scores=(people.scores,),
        image_labels=(people.labels,),
    )
    order = [2, 0, 1]
    given = None if labels is None else np.array(labels)[order]
    keypoints, scores = (
        part[order].astype(np.float64) for part in (people.keypoints, people.scores)
    )
    answer = ClientAnswer(keypoints, scores, given)
    return judge_client([answer], reference, ROW, 4).failures


def test_people_of_another_class_are_seen() -> None:
    sure = [False, False, False]
    assert classified([1, 0, 1], sure) == ()
    assert "1 of 3 people have another class" in classified([1, 1, 1], sure)[0]
    assert "2 of 3 people have another class" in classified(None, sure)[0]  # all of class 0
    assert classified([1, 1, 1], [False, True, False]) == ()
    assert classified([0, 0, 1], [False, True, False])


class Detector:
    """Answers with the box that it was given, or with one person of score 0.5."""

    def __init__(self, folder: str, _device: str, _number: int) -> None:
        self.folder = folder

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def __call__(self, image: np.ndarray, bbox: list[float]) -> np.ndarray:
        return np.full((1, 2, 3), bbox[0] + image.shape[0])

    def detect(self, image: np.ndarray) -> Detector:
        self.keypoints, self.scores = np.full((1, 2, 3), image.shape[1]), np.array([0.5])
        self.labels = np.array([3])
        return self


def test_the_sdk_client_asks_with_a_box_or_with_the_whole_image() -> None:
    def make(folder: str, _device: str) -> Detector:
        return Detector(folder, "cpu", 0)

    sample = Sample("s", np.zeros((4, 6, 3), np.uint8), (10.0, 0.0, 3.0, 3.0))
    (alone,) = posedeploy_sdk("folder", [sample], bottom_up=False, make=make)
    assert alone.keypoints.tolist() == [[[14.0, 14.0]] * 2]
    assert alone.scores.tolist() == [1.0]
    (all_of_them,) = posedeploy_sdk("folder", [sample], bottom_up=True, make=make)
    assert all_of_them.keypoints.tolist() == [[[6.0, 6.0]] * 2]
    assert all_of_them.scores.tolist() == [0.5]
    assert alone.labels is None
    assert all_of_them.labels is not None
    assert all_of_them.labels.tolist() == [3]
