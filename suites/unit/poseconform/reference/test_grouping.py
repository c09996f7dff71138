"""People of several runs, and the head kinds that group."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from poseconform.compare.metrics import Detections
from poseconform.reference.heads import REFERENCE_HEADS, Grouping, reference_head

pytest.importorskip("torch")

from poseconform.reference.grouping import as_detections, grouped, keypoint_ties, union


def people(*places: float) -> Detections:
    """A person at each place, of falling score."""
    points = np.array([[[x, 0.0], [x + 4, 8.0]] for x in places]).reshape(-1, 2, 2)
    scores = np.linspace(0.9, 0.5, len(places))
    boxes = np.concatenate([points[:, 0], points[:, 1]], axis=-1)
    return Detections(boxes, scores, points, np.repeat(scores[:, None], 2, axis=1))


def test_people_of_every_run_are_stable_and_those_of_some_are_possible() -> None:
    first = people(10, 50, 90)
    moved = people(10.01, 50, 90).select(np.array([0, 1]))  # one is missing
    other = people(10, 50, 90, 130).select(np.array([0, 1, 3]))  # one in another place
    other.scores[:] = other.keypoint_scores[:, 0] = first.scores
    found = union([first, moved, other], 0.1)
    flags = zip(found["stable"], found["base"], strict=True)
    by_place = dict(zip(found["keypoints"][:, 0, 0], flags, strict=True))
    assert by_place == {
        10.0: (True, True), 50.0: (True, True), 90.0: (False, True), 130.0: (False, False),
    }  # fmt: skip
    assert (np.diff(found["scores"]) <= 0).all()


def test_a_person_without_a_box_gets_that_of_its_keypoints_and_their_mean_score() -> None:
    points, scores = np.array([[[1.0, 2.0], [5.0, 0.0]]]), np.array([[0.2, 0.6]])

    class Instances(SimpleNamespace):
        def __contains__(self, name: str) -> bool:
            return name in vars(self)

    found = as_detections(Instances(keypoints=points, keypoint_scores=scores))
    assert found.boxes.tolist() == [[1, 0, 5, 2]]
    assert found.scores == pytest.approx([0.4])
    scored = Instances(keypoints=points, keypoint_scores=scores, bbox_scores=np.array([0.7]))
    assert as_detections(scored).scores == pytest.approx([0.7])
    nobody = Instances(keypoints=points[:0], keypoint_scores=scores[:0])
    assert len(as_detections(nobody)) == 0


def test_a_graph_of_maps_leaves_the_people_to_the_host() -> None:
    grouping = [head for head in REFERENCE_HEADS if isinstance(head.kind, Grouping)]
    assert {head.word for head in grouping} == {"associative-embedding", "cid", "dekr"}
    for head in grouping:
        assert head.leaves_suppression(reversed(head.outputs))
        assert not head.leaves_suppression(head.outputs[1:])


def test_only_kinds_that_group_are_grouped() -> None:
    with pytest.raises(TypeError, match="groups no keypoints"):
        grouped(
            reference_head("simcc"), None, dict.fromkeys(("simcc_x", "simcc_y"), np.ones(1)), None
        )


def test_a_keypoint_that_is_elsewhere_in_another_run_is_a_near_tie() -> None:
    first, other = people(10, 50), people(50, 10)  # in another order
    other.keypoints[1, 1, 0] += 3
    found = keypoint_ties(first.keypoints, [first, first, other], 0.1)
    assert found.tolist() == [[False, True], [False, False]]
    assert keypoint_ties(first.keypoints, [first, people()], 0.1).all()
