"""How far keypoints may move: the limits, near ties, and what is printed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from posedeploy.runtime.shifts import SHIFT_RULES, Floats, Spread, judge_shift

K = 17


def distances(*moved: float, others: float = 0.0) -> Floats:
    """`[17]` px: some keypoints, and all others."""
    return np.array([*moved, *[others] * (K - len(moved))])


STILL = distances()
# ---- modify this table to add a case ---------------------------------------------------------
# precision, distances, PyTorch's own, reach of honest rounding -> within, near ties
CASES: dict[str, tuple[str, Floats, Floats | None, float, tuple[bool, int]]] = {
    "nothing moves": ("fp16", STILL, STILL, 0.0, (True, 0)),
    "a bin to either side": ("fp16", distances(0.71), STILL, 0.0, (True, 0)),
    "one keypoint 3 px off": ("fp16", distances(3.0), STILL, 0.0, (False, 0)),
    "all 3 px off": ("fp16", distances(others=3.0), distances(0.71, 0.5), 0.0, (False, 0)),
    "3 px off, where PyTorch is too": (
        "fp16", distances(others=3.0), distances(others=2.0), 0.0, (True, 0),
    ),
    "a near tie of the outputs": ("fp16", distances(90.0), STILL, 90.0, (True, 1)),
    "farther than any tie": ("fp16", distances(90.0), STILL, 80.0, (False, 0)),
    "a near tie that PyTorch shows": ("fp16", distances(90.0), distances(60.0), 0.0, (True, 1)),
    "PyTorch's near tie allows the others nothing": (
        "fp16", distances(0.0, 3.0), distances(60.0), 0.0, (False, 0),
    ),
    "a px in float32": ("fp32", distances(1.0), None, 0.0, (False, 0)),
    "rounding in float32": ("fp32", distances(0.05), None, 0.0, (True, 0)),
    "no number": ("int8", distances(math.nan), distances(math.inf), math.inf, (False, 0)),
    "nobody": ("fp16", np.zeros((0, K)), np.zeros((0, K)), 0.0, (True, 0)),
}  # fmt: skip
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_keypoints_are_within_the_limits_or_not(case: str) -> None:
    precision, apart, own, reach, expected = CASES[case]
    shift = judge_shift(precision, apart, own, lambda: np.full(K, reach))
    assert (shift.within, shift.near_ties) == expected


def test_near_ties_are_looked_for_only_where_keypoints_moved_too_far() -> None:
    def never() -> Floats:
        raise AssertionError("it costs runs of PyTorch")

    for precision, rule in SHIFT_RULES.items():
        own = None if precision == "fp32" else STILL
        assert judge_shift(precision, distances(rule.floor_px), own, never).within


def test_the_largest_of_a_persons_keypoints_is_not_within_95_percent() -> None:
    assert Spread.of(distances(9.0, 2.0, 1.0)).figures == (0.0, 2.0, 9.0)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (None, "median 0 px, 95th percentile 0 px, at most 4 px apart (allowed 0.1 px)"),
        (
            distances(0.5, 0.5, 0.5),
            "median 0 px, 95th percentile 0 px, at most 4 px apart, 1 near tie left out "
            "(allowed 0.75 / 1.50 / 1.50 px; PyTorch's own rounding 0.00 / 0.50 / 0.50)",
        ),
    ],
)
def test_distances_and_limits_are_printed(own: Floats | None, words: str) -> None:
    precision, reach = ("fp32", 0.0) if own is None else ("fp16", 4.0)
    assert str(judge_shift(precision, distances(4.0), own, lambda: np.full(K, reach))) == words
