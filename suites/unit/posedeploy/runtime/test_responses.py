"""Outputs that mean something, and each kind of those that do not."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from posedeploy.runtime.responses import response_fault, same_argmax_fraction

RNG = np.random.default_rng(0)
THREE = np.arange(3)


def varying() -> NDArray[np.float64]:
    return RNG.normal(size=(3, 5, 16))


def still(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same values with three of five peaks at one place."""
    values[:, :3, 7] = 100
    return values


FAULTS: dict[str, tuple[Callable[[], NDArray[np.float64]], str]] = {
    "NaN": (lambda: np.where(np.arange(16) == 3, math.nan, varying()), "15 of 240 values are not"),
    "infinite": (lambda: np.where(np.arange(16) == 3, math.inf, varying()), "15 of 240 values"),
    "constant": (lambda: np.full((3, 5, 16), 0.25), "constant (0.25)"),
    "the same": (lambda: np.repeat(varying()[:1], 3, axis=0), "the same for every image"),
    "still peaks": (lambda: still(varying()), "60% of the keypoints have the same peak"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_named(case: str) -> None:
    make, fault = FAULTS[case]
    assert response_fault(make(), THREE, peaks=True).startswith(fault)


def test_what_depends_on_the_image_has_no_fault() -> None:
    assert response_fault(varying(), THREE, peaks=True) == ""
    assert response_fault(still(varying()), THREE) == ""  # no peaks are looked for


def test_rows_of_one_image_are_one_image() -> None:
    rows = np.concatenate([varying()[:1]] * 2)
    assert response_fault(rows, np.array([0, 0])) == ""
    assert response_fault(rows, np.array([0, 1])) == "the same for every image"


def test_an_output_that_ignores_the_image_has_one_peak() -> None:
    maps = np.zeros((3, 4, 5, 5))
    maps[:, :, 2, 2] = 1.0
    assert same_argmax_fraction(maps) == 1.0
    maps[1, 0, 4, 4] = 2.0
    assert same_argmax_fraction(maps) == 0.75
    assert same_argmax_fraction(np.eye(4)[:, None]) == 0.0


def test_peaks_are_compared_with_the_first_images_over_all_of_them() -> None:
    maps = np.zeros((3, 2, 4))
    maps[:, 0, 1] = 1
    maps[0, 1, 0] = maps[1, 1, 1] = maps[2, 1, 0] = 1
    assert same_argmax_fraction(maps) == 0.5
    square = np.zeros((2, 1, 2, 2))
    square[0, 0, 0, 1] = square[1, 0, 1, 1] = 1
    assert same_argmax_fraction(square) == 0.0
