"""Drawings show what was found, in the data set's colors, and survive wild keypoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from posedeploy.sdk.drawing import CLASS_COLORS, DEFAULT_COLOR, draw_poses
from posedeploy.sdk.meta import DatasetMeta

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
META = DatasetMeta(
    skeleton_links=((0, 1),), keypoint_colors=(RED, GREEN), skeleton_link_colors=(BLUE,)
)
CANVAS = np.full((100, 200, 3), 128, np.uint8)


def person(*points: tuple[float, float, float]) -> np.ndarray:
    return np.array([points], float)


def color(image: np.ndarray, x: int, y: int) -> tuple[int, ...]:
    """RGB at a place."""
    return tuple(int(part) for part in image[y, x, ::-1])


def is_blue(image: np.ndarray, x: int, y: int) -> bool:
    """True on a link: its edges are smoothed."""
    red, green, blue = color(image, x, y)
    return blue > 200 and max(red, green) < 50


def test_keypoints_and_links_have_their_colors() -> None:
    drawn = draw_poses(CANVAS, person((30, 50, 1), (170, 50, 1)), META)
    assert color(drawn, 30, 50) == RED
    assert color(drawn, 170, 50) == GREEN
    assert is_blue(drawn, 100, 50)
    assert color(drawn, 100, 20) == (128, 128, 128)
    assert (CANVAS == 128).all()


def test_what_has_no_color_gets_one_and_no_links_means_dots() -> None:
    drawn = draw_poses(CANVAS, person((30, 50, 1), (170, 50, 1)), DatasetMeta())
    assert color(drawn, 30, 50) == DEFAULT_COLOR
    assert color(drawn, 100, 50) == (128, 128, 128)


def test_keypoints_below_the_score_and_their_links_are_left_out() -> None:
    drawn = draw_poses(CANVAS, person((30, 50, 0.9), (170, 50, 0.1)), META, min_score=0.5)
    assert color(drawn, 30, 50) == RED
    assert color(drawn, 170, 50) == (128, 128, 128)
    assert color(drawn, 100, 50) == (128, 128, 128)


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf])
def test_a_keypoint_that_is_no_number_is_left_out(wild: float) -> None:
    for x, y, score in ((wild, 50, 1), (170, wild, 1), (170, 50, wild)):
        drawn = draw_poses(CANVAS, person((30, 50, 1), (x, y, score)), META)
        assert color(drawn, 30, 50) == RED
        assert color(drawn, 170, 50) == (128, 128, 128)


@pytest.mark.parametrize("far", [-1e30, 1e30])
def test_a_keypoint_far_outside_does_not_overflow(far: float) -> None:
    drawn = draw_poses(CANVAS, person((30, 50, 1), (far, 50, 1)), META)
    assert color(drawn, 30, 50) == RED
    assert is_blue(drawn, 60 if far > 0 else 10, 50)


def test_nobody_leaves_the_image_as_it_is() -> None:
    np.testing.assert_array_equal(draw_poses(CANVAS, np.zeros((0, 2, 3)), META), CANVAS)


def test_a_person_of_a_class_has_its_name_in_its_color() -> None:
    meta = replace(META, class_names=("cat", "dog"))
    people = np.array([[(30, 50, 1), (60, 50, 1)], [(130, 50, 1), (160, 50, 1)]], float)
    plain = draw_poses(CANVAS, people, meta)
    drawn = draw_poses(CANVAS, people, meta, labels=np.array([0, 1]))
    for left, label in ((0, 0), (100, 1)):
        changed = (drawn != plain).any(axis=2)[:, left : left + 100]
        assert changed.any()
        colored = drawn[:, left : left + 100][changed] == CLASS_COLORS[label][::-1]
        assert colored.all(axis=1).any()
    other = draw_poses(CANVAS, people, meta, labels=np.array([1, 1]))
    assert (other != drawn).any()
    nameless = draw_poses(CANVAS, people, META, labels=np.array([0, 300]))
    assert (nameless != plain).any()


def test_no_keypoint_that_is_drawn_means_no_name() -> None:
    meta = replace(META, class_names=("cat", "dog"))
    points = np.array([[(30, 50, 0.1), (np.nan, 50, 1)]])
    drawn = draw_poses(CANVAS, points, meta, 0.5, labels=np.array([1]))
    np.testing.assert_array_equal(drawn, CANVAS)
