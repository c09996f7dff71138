"""Drawn figures have their joints where they say, and calibration images differ."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posedeploy.errors import UnavailableError
from posedeploy.synthetic.figures import JOINTS, draw_figure, draw_scene, joint_color
from posedeploy.synthetic.images import calibration_images, network_input, photographs


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(48, 400), st.integers(48, 400))
def test_joints_lie_inside_the_image(seed: int, width: int, height: int) -> None:
    image, joints = draw_figure(seed, (width, height))
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert joints.shape == (17, 2)
    assert joints.dtype == np.float32
    assert (joints >= 0).all()
    assert (joints < [width, height]).all()


@pytest.mark.parametrize("seed", range(5))
def test_joints_are_where_their_discs_are(seed: int) -> None:
    """At most a few of the 17 discs are covered by another one."""
    image, joints = draw_figure(seed, (384, 512))
    hits = 0
    for joint, (x, y) in enumerate(np.round(joints).astype(int)):
        patch = image[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
        hits += bool(np.abs(patch - joint_color(joint)).max() < 25)
    assert hits >= 13


def test_joint_colors_are_far_apart() -> None:
    colors = np.array([joint_color(joint) for joint in range(len(JOINTS))], float)
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=2)
    assert distance[~np.eye(17, dtype=bool)].min() > 25


def test_figures_depend_on_the_seed_and_on_nothing_else() -> None:
    first, joints = draw_figure(3, (192, 256))
    again, joints_again = draw_figure(3, (192, 256))
    other, _ = draw_figure(4, (192, 256))
    assert (first == again).all()
    assert (joints == joints_again).all()
    assert (first != other).mean() > 0.5


def test_the_left_of_the_figure_is_on_the_right_of_the_page() -> None:
    joints = np.mean([draw_figure(seed, (192, 256))[1] for seed in range(20)], axis=0)
    for left, right in ((1, 2), (5, 6), (11, 12), (15, 16)):
        assert joints[left, 0] > joints[right, 0]
    assert joints[0, 1] < joints[5, 1] < joints[11, 1] < joints[13, 1] < joints[15, 1]


def test_scene_with_several_people_and_with_none() -> None:
    _, joints = draw_scene(1, (320, 320), people=3)
    assert joints.shape == (3, 17, 2)
    _, nobody = draw_scene(1, (320, 320), people=0)
    assert nobody.shape == (0, 17, 2)


def test_too_small_an_image() -> None:
    with pytest.raises(ValueError, match="48 px"):
        draw_figure(0, (192, 20))


def test_photograph_is_of_a_dependency_and_cannot_be_changed() -> None:
    (portrait,) = photographs()
    assert portrait.shape == (600, 512, 3)
    with pytest.raises(ValueError, match="read-only"):
        portrait[0, 0, 0] = 1


def test_photograph_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    photographs.cache_clear()
    try:
        with pytest.raises(UnavailableError, match="Install matplotlib"):
            photographs()
    finally:
        photographs.cache_clear()


def test_calibration_images_of_a_size_that_is_too_small_to_draw_in() -> None:
    crops = calibration_images(2, (32, 16), seed=0)
    assert [crop.shape for crop in crops] == [(16, 32, 3)] * 2
    assert (crops[0] != crops[1]).any()


def test_calibration_images_all_differ() -> None:
    crops = calibration_images(6, (96, 128), seed=0) + calibration_images(6, (96, 128), seed=1)
    assert {crop.shape for crop in crops} == {(128, 96, 3)}
    for index, crop in enumerate(crops):
        assert crop.std() > 20
        for other in crops[:index]:
            assert np.abs(crop.astype(int) - other).mean() > 5


def test_network_input_subtracts_divides_and_swaps() -> None:
    image = np.empty((2, 3, 3), np.uint8)
    image[:] = (10, 20, 30)  # BGR
    rgb = network_input([image, image], (1, 2, 3), (2, 2, 2), bgr_to_rgb=True)
    assert rgb.shape == (2, 3, 2, 3)
    assert rgb.dtype == np.float32
    assert rgb[0, :, 0, 0].tolist() == [14.5, 9.0, 3.5]
    bgr = network_input([image], (0, 0, 0), (1, 1, 1), bgr_to_rgb=False)
    assert bgr[0, :, 1, 2].tolist() == [10.0, 20.0, 30.0]
