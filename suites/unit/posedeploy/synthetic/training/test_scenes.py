"""Images to train on: functions of their number, none of the drawn data set, labels that fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from posedeploy.synthetic.drawn import PALETTE, SPLITS
from posedeploy.synthetic.training.scenes import (
    Scene,
    counted_people,
    detector_scene,
    drawn_seeds,
    top_down_scene,
)

MAKERS = (top_down_scene, detector_scene)
SIZES = {top_down_scene: (192, 256), detector_scene: (416, 416)}
Make = Callable[[int, int, tuple[int, int]], Scene]


@pytest.fixture(scope="module", params=MAKERS, ids=lambda make: make.__name__)
def drawn(request: pytest.FixtureRequest) -> tuple[Make, list[Scene]]:
    make: Make = request.param
    return make, [make(0, number, SIZES[request.param]) for number in range(60)]


def test_an_image_is_a_function_of_seed_and_number(drawn: tuple[Make, list[Scene]]) -> None:
    make, made = drawn
    size = (made[0].image.shape[1], made[0].image.shape[0])
    again = make(0, 7, size)
    assert np.array_equal(again.image, made[7].image)
    assert np.array_equal(again.joints, made[7].joints)
    assert not np.array_equal(make(1, 7, size).image, made[7].image)


def test_no_scene_has_the_seed_of_an_image_of_the_data_set_or_of_another_scene() -> None:
    seeds = [drawn_seeds(seed, number) for seed in (0, 1) for number in (0, 1, 10**9)]
    images = 1_000_000_000  # that a split has
    assert min(min(pair) for pair in seeds) >= max(SPLITS.values()) + images
    assert len({seed for pair in seeds for seed in pair}) == 2 * len(seeds)


def test_uncovered_joints_have_the_color_of_their_disc(drawn: tuple[Make, list[Scene]]) -> None:
    """Blue less red, and the like, of a joint's pixel is on average that of its disc's color."""
    seen = [
        (scene.image[int(y), int(x)].astype(float), PALETTE[joint])
        for scene in drawn[1]
        for person in np.flatnonzero(counted_people(scene))
        for joint, (x, y) in enumerate(scene.joints[person])
        if scene.inside[person, joint] and not scene.covered[person, joint]
    ]
    distance = np.array([np.abs(pixel - np.array(color)).max() for pixel, color in seen])
    assert len(seen) > 500
    assert np.mean(distance < 90) > 0.85  # another joint's disc or a person in front hides some


def test_labels_fit_the_image(drawn: tuple[Make, list[Scene]]) -> None:
    for scene in drawn[1]:
        height, width = scene.image.shape[:2]
        assert scene.image.dtype == np.uint8
        people = len(scene.joints)
        assert scene.inside.shape == scene.covered.shape == (people, 17)
        points = scene.joints[scene.inside]
        assert (points >= 0).all()
        assert (points < [width, height]).all()
        assert (scene.boxes >= 0).all()
        assert (scene.boxes <= [width, height, width, height]).all()
        for box, joints, inside in zip(scene.boxes, scene.joints, scene.inside, strict=True):
            assert (joints[inside] >= box[:2] - 1e-3).all()
            assert (joints[inside] <= box[2:] + 1e-3).all()


def test_people_are_cut_off_covered_small_and_large() -> None:
    made = [detector_scene(0, number, (416, 416)) for number in range(120)]
    counts = [int(counted_people(scene).sum()) for scene in made]
    assert set(range(1, 5)) <= set(counts)
    sides = np.concatenate(
        [np.ptp(s.boxes.reshape(-1, 2, 2), axis=1).max(1)[counted_people(s)] for s in made]
    )
    assert sides.min() < 0.25 * 416
    assert sides.max() > 0.9 * 416
    found = np.concatenate([s.inside[counted_people(s)] for s in made])
    covered = np.concatenate([s.covered[counted_people(s)] for s in made])
    assert 0.05 < 1 - found.all(axis=1).mean() < 0.6  # cut off
    assert 0.05 < covered.any(axis=1).mean() < 0.5
