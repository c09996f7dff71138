"""The drawn data set: joints and boxes where they say, splits that share nothing."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest

from fixtures.images import make_samples
from posedeploy.synthetic.drawn import PALETTE, SIZE, SPLITS, drawn_figures
from posedeploy.synthetic.figures import JOINTS, draw_figure
from posedeploy.synthetic.images import calibration_images


def test_figures_are_the_same_on_every_call() -> None:
    first, again = (list(drawn_figures("fitting", 3)) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        assert (a.image == b.image).all()
        assert (a.keypoints == b.keypoints).all()
    assert [figure.name for figure in first] == ["fitting-0", "fitting-1", "fitting-2"]
    assert len({figure.image.tobytes() for figure in first}) == 3


def test_more_images_begin_with_the_fewer() -> None:
    few, more = drawn_figures("evaluation", 2), drawn_figures("evaluation", 4)
    for a, b in zip(few, more, strict=False):
        assert (a.image == b.image).all()


@pytest.mark.parametrize("people", [1, 3])
def test_joints_are_under_their_discs_and_inside_their_boxes(people: int) -> None:
    hits, total = 0, 0  # limbs of another person may cover a disc, and some joints do
    for figure in drawn_figures("evaluation", 8, people, (480, 480)):
        assert figure.keypoints.shape == (people, 17, 2)
        assert figure.bboxes.shape == (people, 4)
        assert figure.keypoints.dtype == np.float32
        assert figure.bboxes.dtype == np.float32
        assert (figure.keypoints >= figure.bboxes[:, None, :2]).all()
        assert (figure.keypoints <= figure.bboxes[:, None, 2:]).all()
        assert (figure.bboxes >= 0).all()
        assert (figure.bboxes <= 480).all()
        for person in np.round(figure.keypoints).astype(int):
            for joint, (x, y) in enumerate(person):
                patch = figure.image[y - 1 : y + 2, x - 1 : x + 2].mean(axis=(0, 1))
                hits += bool(np.abs(patch - PALETTE[joint]).max() < 25)
                total += 1
    assert hits / total >= (0.99 if people == 1 else 0.95)


def test_people_in_one_image_keep_apart() -> None:
    for figure in drawn_figures("fitting", 12, people=2, size=(480, 480)):
        (low, high), (low2, high2) = figure.bboxes.reshape(2, 2, 2)
        shared = np.prod(np.clip(np.minimum(high, high2) - np.maximum(low, low2), 0, None))
        assert shared <= 0.3 * min(np.prod(high - low), np.prod(high2 - low2))


def test_splits_and_all_other_drawn_images_share_nothing() -> None:
    """At equal sizes, where equal seeds would give equal figures."""
    sets = {
        split: [figure.image for figure in drawn_figures(split, 40, size=(192, 256))]
        for split in SPLITS
    }
    sets["calibrated weights"] = calibration_images(16, (192, 256), 0)
    sets["admission"] = calibration_images(6, (192, 256), 9000)
    digests = {
        name: {hashlib.sha256(image.tobytes()).hexdigest() for image in images}
        for name, images in sets.items()
    }
    for (name, a), (other, b) in itertools.combinations(digests.items(), 2):
        assert not a & b, (name, other)


def test_splits_share_nothing_with_the_images_of_the_judge() -> None:
    for sample in make_samples():
        height, width = sample.image.shape[:2]
        for split in SPLITS:
            for figure in drawn_figures(split, 3, size=(width, height)):
                assert (figure.image != sample.image).mean() > 0.5
    poses = [f.keypoints[0] for split in SPLITS for f in drawn_figures(split, 30)]
    for seed in (9001, 9002):
        _, judged = draw_figure(seed, SIZE)
        assert min(float(np.abs(pose - judged).max()) for pose in poses) > 5


def test_seeds_of_splits_are_far_from_each_other_and_from_small_ones() -> None:
    starts = [0, *sorted(SPLITS.values())]
    assert min(np.diff(starts)) >= 10_000_000_000


def test_colors_are_distinct() -> None:
    colors = np.array(PALETTE, float)
    distance = np.abs(colors[:, None] - colors[None]).max(axis=2)
    assert distance[~np.eye(len(JOINTS), dtype=bool)].min() >= 127


def test_unknown_split_and_impossible_count() -> None:
    with pytest.raises(ValueError, match="'training' is none of calibration, evaluation, fitting"):
        next(drawn_figures("training", 1))
    with pytest.raises(ValueError, match="a split has"):
        next(drawn_figures("fitting", -1))
