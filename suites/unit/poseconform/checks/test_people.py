"""People that a detector finds on labeled images, matched with the figures of the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.builders import make_cell
from fixtures.figures import drawn_set
from poseconform.checks.people import judge_people, of_figures
from poseconform.checks.table import CHECKS
from poseconform.compare.tolerances import ShiftLimit
from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People

LIMIT = ShiftLimit(mean_px=0.5, p99_px=1.5, oks=0.99, points=0.5)


@pytest.fixture(scope="module")
def images() -> tuple[LabeledImage, ...]:
    return drawn_set(4, 2).images


@pytest.fixture
def input_shape(images: tuple[LabeledImage, ...]) -> tuple[int, int]:
    """Of a network whose input is half as large as the images."""
    height, width = images[0].pixels().shape[:2]
    return height // 2, width // 2


def as_drawn(images: tuple[LabeledImage, ...], away: float = 0.0) -> list[People]:
    """Every figure, its joints so many image px to the right."""
    return [
        People(image.keypoints + np.array([away, 0, 0]), np.linspace(0.9, 0.8, len(image.boxes)))
        for image in images
    ]


def select(people: People, rows: NDArray[np.integer] | list[int]) -> People:
    return People(people.keypoints[rows], people.scores[rows])


def test_shifts_are_in_px_of_the_input(
    images: tuple[LabeledImage, ...], input_shape: tuple[int, int]
) -> None:
    verdict = judge_people(images, as_drawn(images, 0.8), as_drawn(images), LIMIT, input_shape)
    assert not verdict.failures
    assert verdict.accuracy is not None
    assert verdict.accuracy.shift_mean_px == pytest.approx(0.4)
    assert (verdict.accuracy.figures, verdict.accuracy.figures_lost) == (8, 0)
    assert verdict.accuracy.pck_reference == 1.0
    wrong = judge_people(images, as_drawn(images, 4.0), as_drawn(images), LIMIT, input_shape)
    assert any("mean shift of the keypoints" in failure for failure in wrong.failures)


def test_a_person_that_is_lost_or_won_is_a_difference(
    images: tuple[LabeledImage, ...], input_shape: tuple[int, int]
) -> None:
    whole = as_drawn(images)
    fewer = [select(whole[0], [1]), *whole[1:]]
    lost = judge_people(images, fewer, whole, LIMIT, input_shape)
    assert lost.accuracy is not None
    assert (lost.accuracy.figures_lost, lost.accuracy.figures_won) == (1, 0)
    assert lost.accuracy.points_lost == pytest.approx(12.5)
    assert any("change of PCK" in failure for failure in lost.failures)
    won = judge_people(images, whole, fewer, LIMIT, input_shape)
    assert won.accuracy is not None
    assert (won.accuracy.figures_lost, won.accuracy.figures_won) == (0, 1)
    assert won.failures
    nobody = [select(people, []) for people in whole]
    assert judge_people(images, nobody, whole, LIMIT, input_shape).failures == (
        "no figure that PyTorch finds is found",
    )


def test_there_is_no_verdict_where_pytorch_finds_little(
    images: tuple[LabeledImage, ...], input_shape: tuple[int, int]
) -> None:
    half = [select(people, [0]) for people in as_drawn(images)]
    verdict = judge_people(images, half, half, LIMIT, input_shape)
    assert verdict.refusal.startswith("fp32-accuracy-too-low: PyTorch itself finds 50.0%")


def test_each_figure_has_one_person_and_the_best_chooses_first(
    images: tuple[LabeledImage, ...],
) -> None:
    image, (people, *_) = images[0], as_drawn(images)
    double = People(
        np.concatenate([people.keypoints + np.array([2.0, 0, 0]), people.keypoints]),
        np.array([0.5, 0.5, 0.9, 0.9]),
    )
    assert (of_figures(image, double) == image.keypoints[..., :2]).all()
    swapped = select(people, [1, 0])
    assert (of_figures(image, swapped) == image.keypoints[..., :2]).all()
    broken = replace(people, keypoints=people.keypoints.copy())
    broken.keypoints[0, 3, 0] = np.nan
    found = of_figures(image, broken)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize(("weights", "judged"), [
    ("trained", True), ("fitted", True), ("calibrated", False), ("user", False), ("zoo", False),
])  # fmt: skip
def test_only_detectors_that_are_made_to_find_figures_are_judged(
    weights: str, judged: bool
) -> None:
    """A user's own finds people in photographs, and no limit was measured for it."""
    for head, expected in (("rtmo", judged), ("simcc", False)):
        cell = make_cell(head)
        model = replace(cell.model, weights=weights)
        assert CHECKS["people"].applies(replace(cell, model=model), "cpu") is expected
