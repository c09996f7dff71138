"""Paired ratios: a slow minute does not move them, and their interval holds the true ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest

from posedeploy.cli.profile.ratios import CONFIDENCE, MIN_ROUNDS, Ratio, paired_ratio


def test_what_slows_both_down_changes_nothing() -> None:
    load = [1.0, 7.0, 1.5, 3.0, 1.0, 20.0, 1.0, 2.0]
    found = paired_ratio([1.2 * factor for factor in load], load)
    assert (found.median, found.low, found.high) == pytest.approx((1.2, 1.2, 1.2))


def test_a_round_in_which_one_was_slowed_down_counts_as_one() -> None:
    found = paired_ratio([1.0] * 9 + [50.0], [1.0] * 10)
    assert (found.median, found.low, found.high, found.rounds) == (1.0, 1.0, 1.0, 10)


@pytest.mark.parametrize(
    ("rounds", "kept"),  # David and Nagaraja, Order Statistics: the table of the sign test at 5 %
    [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (25, 8), (50, 18), (100, 40)],
)
def test_the_interval_is_that_of_the_sign_test(rounds: int, kept: int) -> None:
    found = paired_ratio([float(i + 1) for i in range(rounds)], [1.0] * rounds)
    assert (found.low, found.high) == (kept, rounds + 1 - kept)


def test_too_few_rounds_have_no_interval() -> None:
    found = paired_ratio([3.0] * (MIN_ROUNDS - 1), [2.0] * (MIN_ROUNDS - 1))
    assert found == Ratio(1.5, 0.0, math.inf, MIN_ROUNDS - 1)
    assert paired_ratio([3.0] * MIN_ROUNDS, [2.0] * MIN_ROUNDS).low == 1.5


def test_the_interval_holds_the_ratio_as_often_as_it_should() -> None:
    """With times that have a long tail, as those of a busy machine do."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        times, others = np.exp(rng.standard_normal((2, 20)) ** 3 / 4)
        found = paired_ratio(list(1.3 * times), list(others))
        held += found.low <= 1.3 <= found.high
    assert held / 400 >= CONFIDENCE - 0.02


@pytest.mark.parametrize(
    ("ratio", "verdict"),
    [
        (Ratio(1.1, 1.01, 1.2, 9), "slower"),
        (Ratio(0.9, 0.8, 0.99, 9), "faster"),
        (Ratio(1.1, 1.0, 1.2, 9), "no difference"),
    ],
)
def test_a_difference_is_an_interval_without_1(ratio: Ratio, verdict: str) -> None:
    assert ratio.verdict == verdict


def test_one_of_each_is_needed() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - zip's own
        paired_ratio([1.0, 2.0], [1.0])
