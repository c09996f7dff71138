"""Each metric sees what it must see: shapes, NaN, one wrong element, one swapped person."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fixtures.builders import make_people
from poseconform.compare.metrics import (
    HISTOGRAM_EDGES,
    keypoint_distances,
    log_histogram,
    match_detections,
    pixel_distances,
    tensor_error,
)

arrays = hnp.arrays(np.float64, (2, 3), elements=st.floats(-1e3, 1e3))


@given(arrays)
def test_an_array_equals_itself(array: np.ndarray) -> None:
    error = tensor_error(array, array)
    assert (error.max, error.rms, error.sqnr_db) == (0.0, 0.0, math.inf)
    assert error.cosine == pytest.approx(1.0)
    assert sum(error.histogram) == 0


@given(arrays, st.integers(0, 5), st.floats(1e-3, 1e3))
def test_one_wrong_element_is_seen(array: np.ndarray, place: int, by: float) -> None:
    wrong = array.copy()
    wrong.flat[place] += by
    error = tensor_error(wrong, array)
    assert error.max == pytest.approx(by, rel=1e-6)
    assert error.rms == pytest.approx(by / math.sqrt(6), rel=1e-6)
    assert sum(error.histogram) == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_never_a_small_error(bad: float) -> None:
    got = np.array([bad, 1.0])
    with np.errstate(invalid="ignore"):
        error = tensor_error(got, np.ones(2))
    assert not error.max <= 1e300
    assert not error.rms <= 1e300
    assert error.sqnr_db == -math.inf


def test_other_shapes_and_sizes_are_refused_and_nothing_is_no_error() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: got \(2, 1\), expected \(2,\)"):
        tensor_error(np.zeros((2, 1)), np.zeros(2))
    empty = tensor_error(np.zeros((0, 2)), np.zeros((0, 2)))
    assert (empty.max, empty.cosine, sum(empty.histogram)) == (0.0, 1.0, 0)


def test_cosine_and_sqnr_of_known_arrays() -> None:
    error = tensor_error(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert error.cosine == 0.0
    assert error.sqnr_db == pytest.approx(10 * math.log10(0.5))
    assert tensor_error(np.ones(2), np.zeros(2)).sqnr_db == -math.inf
    assert tensor_error(np.zeros(2), np.ones(2)).cosine == 0.0
    assert tensor_error(np.zeros(2), np.zeros(2)).cosine == 1.0


def test_the_histogram_has_open_ends_and_leaves_zero_out() -> None:
    counts = log_histogram(np.array([0.0, 1e-30, 1e30, 0.5, math.nan]))
    assert len(counts) == len(HISTOGRAM_EDGES) - 1
    assert (counts[0], counts[-1], sum(counts)) == (1, 1, 3)


def test_distances_of_keypoints_and_their_percentiles() -> None:
    got = np.array([[[3.0, 4.0], [0.0, 0.0]]])
    distances = keypoint_distances(got, np.zeros((1, 2, 2)))
    assert distances.tolist() == [[5.0, 0.0]]
    found = pixel_distances(distances)
    assert (found.p50, found.max) == (2.5, 5.0)
    assert found.p50 <= found.p99 <= found.max
    assert pixel_distances(np.zeros(0)).max == 0.0
    assert math.isnan(pixel_distances(np.array([0.0, math.nan])).max)


@given(st.permutations(range(5)))
def test_detections_match_in_any_order(order: list[int]) -> None:
    people = make_people([0.9, 0.8, 0.7, 0.6, 0.5])
    rows, columns = match_detections(people.select(np.array(order)), people, 2.0)
    assert [order[r] for r in rows] == columns.tolist()
    assert len(rows) == 5


@given(st.permutations(range(4)), st.integers(0, 3))
def test_matching_is_symmetric(order: list[int], dropped: int) -> None:
    people = make_people([0.9, 0.8, 0.7, 0.6])
    some = people.select(np.array([i for i in order if i != dropped]))
    there = match_detections(some, people, 2.0)
    back = match_detections(people, some, 2.0)
    pairs = set(zip(*(part.tolist() for part in there), strict=True))
    assert pairs == set(zip(*(part.tolist() for part in back[::-1]), strict=True))
    assert len(pairs) == 3


def test_who_is_too_far_off_has_another_score_or_nan_is_not_matched() -> None:
    people = make_people([0.9, 0.5])
    moved = make_people([0.9, 0.5])
    moved.keypoints[0, 1, 0] += 3.0
    assert match_detections(moved, people, 2.0)[1].tolist() == [1]
    rescored = make_people([0.9, 0.6])
    assert match_detections(rescored, people, 2.0)[1].tolist() == [0]
    spoilt = make_people([0.9, 0.5])
    spoilt.boxes[1, 0] = math.nan
    assert match_detections(spoilt, people, 2.0)[1].tolist() == [0]
    nobody = people.select(np.zeros(0, np.intp))
    assert match_detections(nobody, people, 2.0)[0].size == 0
    assert match_detections(people, nobody, 2.0)[0].size == 0


def test_one_person_alone_is_matched_too() -> None:
    one, two = make_people([0.9]), make_people([0.9, 0.5])
    for got, expected in ((one, one), (one, two), (two, one)):
        rows, columns = match_detections(got, expected, 2.0)
        assert (rows.tolist(), columns.tolist()) == ([0], [0])


def test_two_of_one_box_are_told_apart_by_their_scores() -> None:
    people = make_people([0.9, 0.5], apart=0.0)
    swapped = people.select(np.array([1, 0]))
    assert match_detections(swapped, people, 2.0)[1].tolist() == [1, 0]
