"""Each metric tells good from bad, at the place where the difference is smallest."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fixtures.builders import make_people
from poseconform.compare import metrics
from poseconform.compare.metrics import (
    COCO_SIGMAS,
    HISTOGRAM_EDGES,
    Detections,
    keypoint_distances,
    keypoint_similarity,
    log_histogram,
    match_detections,
    other_classes,
    pixel_distances,
    tensor_error,
    within_reach,
)
from posedeploy.runtime.quantized.noise import decibels

POINTS = np.arange(34.0).reshape(1, 17, 2)
TRUTH = np.array([1.0, 2.0, 3.0, 4.0])
PEOPLE = make_people([0.9, 0.8])
CLASSES = replace(PEOPLE, labels=np.array([0, 1]))


def changed(array: np.ndarray, place: int, by: float) -> np.ndarray:
    other = array.copy()
    other.flat[place] += by
    return other


def matched(**parts: np.ndarray) -> int:
    return len(match_detections(replace(PEOPLE, **parts), PEOPLE, 2.0)[0])


@dataclass(frozen=True)
class Rejects:
    """A number that must be worse for something slightly bad than for something good."""

    good: Callable[[], float]
    bad: Callable[[], float]
    higher_is_worse: bool = True


# fmt: off
# Every public function of the module has a row; `test_every_metric_is_here` sees to it.
TABLE: dict[str, Rejects] = {
    "keypoint_distances": Rejects(
        lambda: float(keypoint_distances(POINTS, POINTS).max()),
        lambda: float(keypoint_distances(changed(POINTS, 33, 1e-6), POINTS).max())),
    "keypoint_similarity": Rejects(
        lambda: float(keypoint_similarity(POINTS, POINTS, np.array([1e4]))[0]),
        lambda: float(keypoint_similarity(changed(POINTS, 0, 1.0), POINTS, np.array([1e4]))[0]),
        False),
    "log_histogram": Rejects(
        lambda: sum(log_histogram(TRUTH - TRUTH)),
        lambda: sum(log_histogram(changed(TRUTH, 1, 1e-9) - TRUTH))),
    "match_detections": Rejects(
        matched, lambda: matched(boxes=changed(PEOPLE.boxes, 0, 2.01)), False),
    "other_classes": Rejects(
        lambda: int(other_classes(CLASSES, CLASSES)[0].sum()),
        lambda: int(other_classes(PEOPLE, CLASSES)[0].sum())),  # without labels all are of class 0
    "pixel_distances": Rejects(
        lambda: pixel_distances(np.zeros(100)).max,
        lambda: pixel_distances(changed(np.zeros(100), 50, 1e-6)).max),
    "tensor_error": Rejects(
        lambda: tensor_error(TRUTH, TRUTH).max,
        lambda: tensor_error(changed(TRUTH, 3, 1e-12), TRUTH).max),
    "within_reach": Rejects(
        lambda: within_reach(changed(POINTS, 0, 5.0), POINTS, np.array([[10.0, 100.0]])),
        lambda: within_reach(changed(POINTS, 0, 5.001), POINTS, np.array([[10.0, 100.0]])),
        False),
}
# fmt: on


def test_every_metric_is_here() -> None:
    functions = inspect.getmembers(metrics, inspect.isfunction)
    ours = {name for name, f in functions if f.__module__ == metrics.__name__}
    assert {name for name in ours if not name.startswith("_")} == set(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_metric_rejects_what_is_slightly_wrong(name: str) -> None:
    row = TABLE[name]
    good, bad = row.good(), row.bad()
    assert bad > good if row.higher_is_worse else bad < good


def test_all_numbers_of_an_error_are_those_of_the_definition() -> None:
    got, expected = np.array([3.0, 0.0, 1.0]), np.array([1.0, 2.0, 2.0])
    error = tensor_error(got, expected)
    assert error.max == 2.0
    assert error.rms == math.sqrt(9 / 3)
    assert error.cosine == pytest.approx(5 / (math.sqrt(10) * 3))
    assert error.sqnr_db == pytest.approx(10 * math.log10(9 / 9))
    louder = tensor_error(10 * expected, expected)
    assert louder.sqnr_db == pytest.approx(10 * math.log10(9 / (81 * 9)))
    counts = dict(zip(HISTOGRAM_EDGES, error.histogram, strict=False))
    assert {edge: n for edge, n in counts.items() if n} == {0.0: 3}


def test_an_error_is_that_of_float64_whatever_the_arrays_are() -> None:
    got, expected = np.array([1.0], np.float16), np.array([1.0 + 2.0**-20])
    assert tensor_error(got, expected).max == 2.0**-20
    big = np.array([60000.0], np.float16)
    assert tensor_error(-big, big).max == 120000.0


def test_shapes_are_compared_whole() -> None:
    assert tensor_error(np.ones((2, 3)), np.ones((2, 3))).cosine == pytest.approx(1.0)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared
        tensor_error(np.zeros((2, 3)), np.zeros((3, 2)))
    assert str(caught.value) == "shapes differ: got (2, 3), expected (3, 2)"


def test_nothing_to_compare_is_exact() -> None:
    empty = tensor_error(np.zeros((0, 3)), np.zeros((0, 3)))
    assert (empty.max, empty.rms, empty.cosine, empty.sqnr_db) == (0.0, 0.0, 1.0, math.inf)
    assert empty.histogram == (0,) * 28
    none = pixel_distances(np.zeros(0))
    assert (none.p50, none.p99, none.max) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("signal", "noise", "expected"),
    [
        (1.0, 0.0, math.inf),
        (0.0, 0.0, math.inf),
        (0.0, 1.0, -math.inf),
        (1.0, math.nan, -math.inf),
        (math.nan, 1.0, -math.inf),
        (1.0, math.inf, -math.inf),
        (100.0, 1.0, 20.0),
        (1.0, 10.0, -10.0),
        (0.5, 1.0, 10 * math.log10(0.5)),
    ],
)
def test_decibels(signal: float, noise: float, expected: float) -> None:
    assert decibels(signal, noise) == pytest.approx(expected)


def test_the_bins_are_half_a_power_of_ten_and_the_ends_are_open() -> None:
    assert (HISTOGRAM_EDGES[0], HISTOGRAM_EDGES[-1], len(HISTOGRAM_EDGES)) == (-12.0, 2.0, 29)
    for error, place in ((1e-12, 0), (1e-13, 0), (1.0, 24), (3.2, 25), (99.0, 27), (1e9, 27)):
        counts = log_histogram(np.array([error]))
        assert counts.index(1) == place
        assert sum(counts) == 1
    assert sum(log_histogram(np.array([0.0, -1.0, math.nan, math.inf, 0.5]))) == 1


def test_percentiles_are_numpys() -> None:
    distances = np.arange(201.0)
    found = pixel_distances(distances)
    assert (found.p50, found.p99, found.max) == (100.0, 198.0, 200.0)


def test_a_keypoints_third_number_is_no_distance() -> None:
    got, expected = np.array([[3.0, 4.0, 0.1]]), np.array([[0.0, 0.0, 0.9]])
    assert keypoint_distances(got, expected).tolist() == [5.0]


def test_a_selection_takes_all_parts_of_a_person() -> None:
    one = PEOPLE.select(np.array([False, True]))
    assert len(one) == 1
    for name in ("boxes", "scores", "keypoints", "keypoint_scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(PEOPLE, name)[1:])


@pytest.mark.parametrize(
    ("part", "place", "by", "left"),
    [
        ("boxes", 0, 2.0, 2),
        ("boxes", 0, -2.0, 2),
        ("boxes", 3, 2.0001, 1),
        ("keypoints", 0, 2.0, 2),
        ("keypoints", 11, -2.0001, 1),
        ("scores", 1, 0.0199, 2),
        ("scores", 1, -0.0201, 1),
        ("boxes", 0, math.nan, 1),
        ("boxes", 0, math.inf, 1),
        ("keypoint_scores", 0, 5.0, 2),
    ],
)
def test_a_person_is_matched_up_to_the_limit_and_no_further(
    part: str, place: int, by: float, left: int
) -> None:
    assert matched(**{part: changed(getattr(PEOPLE, part), place, by)}) == left


def test_distances_of_place_and_score_add_up() -> None:
    moved = replace(PEOPLE, boxes=changed(PEOPLE.boxes, 0, 1.5))
    both = replace(moved, scores=changed(PEOPLE.scores, 0, 0.006))
    assert len(match_detections(moved, PEOPLE, 2.0)[0]) == 2
    assert len(match_detections(both, PEOPLE, 2.0)[0]) == 1


def test_one_who_is_lost_does_not_take_the_others_place() -> None:
    """The best pairing as a whole is found where everyone's nearest is the same person."""
    line = np.array([0.0, 1.0, 2.0])
    boxes = np.stack([line, line, line + 9, line + 9], axis=-1)
    points = np.zeros((3, 1, 2))
    people = Detections(boxes, np.full(3, 0.5), points, np.ones((3, 1)))
    far = replace(people, boxes=boxes + np.array([[1.0], [1.0], [500.0]]))
    rows, columns = match_detections(far, people, 2.0)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 2)]


def test_one_who_is_very_far_off_does_not_outweigh_one_who_is_found() -> None:
    lost = replace(PEOPLE, boxes=PEOPLE.boxes + np.array([[0.0], [1e12]]))
    rows, columns = match_detections(lost, PEOPLE, 2.0)
    assert (rows.tolist(), columns.tolist()) == ([0], [0])


def test_who_is_nearer_is_matched_where_the_limit_is_wide() -> None:
    people = make_people([0.5, 0.5], apart=10.0)
    moved = replace(people, boxes=people.boxes + 3.0).select(np.array([1, 0]))
    rows, columns = match_detections(moved, people, 16.0)
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])


def test_nobody_can_be_selected_by_a_match_with_nobody() -> None:
    nobody = PEOPLE.select(np.zeros(0, np.intp))
    for got, expected in ((PEOPLE, nobody), (nobody, PEOPLE), (nobody, nobody)):
        rows, columns = match_detections(got, expected, 2.0)
        assert len(got.select(rows)) == len(expected.select(columns)) == 0


def test_small_arrays_have_a_cosine_too() -> None:
    error = tensor_error(np.array([0.1, 0.1]), np.array([0.1, 0.0]))
    assert error.cosine == pytest.approx(math.sqrt(0.5))


def test_similarity_is_cocos() -> None:
    assert len(COCO_SIGMAS) == 17
    moved = changed(POINTS, 10, 7.0)  # x of the sixth joint, the left shoulder
    area = 5000.0
    expected = (16 + math.exp(-49 / (2 * (2 * 0.079) ** 2 * area))) / 17
    found = keypoint_similarity(np.stack([moved[0], POINTS[0]]), np.repeat(POINTS, 2, 0),
                                np.array([area, area]))  # fmt: skip
    assert found == pytest.approx([expected, 1.0])


def test_reach_is_a_twentieth_of_the_larger_side_unless_told() -> None:
    moved = changed(POINTS, 0, 5.0)
    sizes = np.array([[100.0, 10.0]])
    assert within_reach(moved, POINTS, sizes) == 1.0
    assert within_reach(moved, POINTS, sizes[:, ::-1]) == 1.0
    assert within_reach(moved, POINTS, sizes * 0.99) == pytest.approx(16 / 17)
    assert within_reach(moved, POINTS, sizes, 0.04) == pytest.approx(16 / 17)
    two = np.concatenate([moved, POINTS])
    assert within_reach(
        two, np.repeat(POINTS, 2, 0), np.array([[50.0, 5], [9, 9]])
    ) == pytest.approx(33 / 34)
