"""Which people are the same on two sides, and how far apart."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posedeploy.apis.matching import Matched, match_people
from posedeploy.apis.reference import with_classes

PEOPLE = np.random.default_rng(0).uniform(0, 200, (3, 17, 3))
CLASSES = np.array([0, 1, 1])
MATCH_PX = 16.0


def match(found: np.ndarray, expected: np.ndarray, scale: float = 1.0) -> Matched:
    return match_people(found, expected, scale, MATCH_PX)


@given(st.permutations(range(3)))
def test_the_same_people_in_any_order_are_the_same(order: list[int]) -> None:
    found = match(PEOPLE[order], PEOPLE)
    assert found.only_one == 0
    assert sorted(found.people) == [0, 1, 2]
    assert not found.distances.any()


@given(st.floats(0.01, 50), st.floats(0.1, 10))
def test_distances_are_in_px_of_the_networks_input(moved: float, scale: float) -> None:
    got = PEOPLE[:1].copy()
    got[0, 4, 0] += moved
    found = match(got, PEOPLE[:1], scale)
    assert found.distances[0, 4] == pytest.approx(moved / scale)
    assert np.count_nonzero(found.distances) == 1


@pytest.mark.parametrize(("found", "expected", "only_one"), [(3, 2, 1), (2, 3, 1), (0, 3, 3)])
def test_people_that_only_one_finds_are_counted(found: int, expected: int, only_one: int) -> None:
    matched = match(PEOPLE[:found], PEOPLE[:expected])
    assert (matched.only_one, len(matched.people)) == (only_one, min(found, expected))


def test_one_of_several_people_that_is_elsewhere_is_another_one() -> None:
    moved = PEOPLE.copy()
    moved[1] += MATCH_PX
    assert match(moved, PEOPLE).only_one == 2
    alone = match(moved[1:2], PEOPLE[1:2])  # there is nobody else that it could be
    assert (alone.only_one, len(alone.people)) == (0, 1)


@given(st.permutations(range(3)), st.integers(0, 2))
def test_people_of_another_class_are_other_people(order: list[int], wrong: int) -> None:
    """Whatever the order; to lose the class is to say that it is 0."""
    expected = with_classes(PEOPLE, CLASSES)
    assert expected.shape == (3, 17, 4)
    assert match(expected[order], expected).only_one == 0
    swapped = with_classes(PEOPLE, np.where(np.arange(3) == wrong, 1 - CLASSES, CLASSES))
    found = match(swapped[order], expected)
    assert (len(found.people), found.only_one, found.distances.max()) == (2, 2, 0.0)
    lost = match(PEOPLE[order], expected)
    assert (len(lost.people), lost.only_one) == (1, 4)


def test_a_keypoint_that_is_no_number_stays_one() -> None:
    got = PEOPLE[:1].copy()
    got[0, 0, 0] = np.nan
    assert np.isnan(match(got, PEOPLE[:1]).distances).sum() == 1


def test_many_people_are_matched_without_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its import takes a quarter of a second, a tenth of a detector's comparison."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    people = np.random.default_rng(0).uniform(0, 600, (40, 17, 3))
    found = match(people[::-1] + 0.25, people)
    assert (len(found.people), found.only_one) == (40, 0)
    assert found.distances.max() == pytest.approx(0.25 * math.sqrt(2))
