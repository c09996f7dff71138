"""Training samples are mmpose's own: the codec's targets, and what its heads' losses take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from posedeploy.config import load_model_config
from posedeploy.synthetic.training import RECIPES
from posedeploy.synthetic.training.samples import DrawnSamples
from posedeploy.synthetic.training.scenes import counted_people, detector_scene, top_down_scene
from posedeploy.zoo.table import config_path, model_row

DETECTORS = ("rtmo_t", "yoloxpose_tiny")


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_samples_of_every_recipe(name: str) -> None:
    config = load_model_config(config_path(model_row(name)))
    sample = DrawnSamples(config, seed=0)[3]
    width, height = config.input_size
    assert sample["inputs"].shape == (3, height, width)
    assert sample["inputs"].dtype == torch.uint8
    labels = sample["data_samples"].gt_instance_labels
    if name in DETECTORS:
        scene = detector_scene(0, 3, config.input_size)
        people = counted_people(scene)
        assert np.allclose(labels.bboxes, scene.boxes[people])
        assert np.array_equal(labels.labels, np.zeros(people.sum()))
        assert np.allclose(labels.keypoints, scene.joints[people])
        visible = (scene.inside & ~scene.covered)[people]
        assert np.array_equal(labels.keypoints_visible.bool(), visible)
        assert (labels.areas > 0).all()
    else:
        inside = top_down_scene(0, 3, config.input_size).inside
        weights = labels.keypoint_weights.reshape(-1, 17)[-1:]  # of MSPN's last level
        assert (weights.bool().numpy() <= inside).all()
        assert weights.any()


def test_the_largest_target_is_at_the_joint() -> None:
    config = load_model_config(config_path(model_row("rtmpose_t")))
    scene = top_down_scene(0, 5, config.input_size)
    labels = DrawnSamples(config, seed=0)[5]["data_samples"].gt_instance_labels
    x = labels.keypoint_x_labels[0].argmax(dim=-1) / 2.0  # bins a px
    inside = scene.inside[0]
    assert np.abs(x.numpy() - scene.joints[0, :, 0])[inside].max() <= 0.5


def test_an_image_without_people_has_no_label() -> None:
    """Every number has a sample, and the heads take one without people."""
    config = load_model_config(config_path(model_row("yoloxpose_tiny")))
    number = next(
        n for n in range(400) if not counted_people(detector_scene(0, n, (416, 416))).any()
    )
    sample = DrawnSamples(config, seed=0)[number]
    assert len(sample["data_samples"].gt_instance_labels) == 0
