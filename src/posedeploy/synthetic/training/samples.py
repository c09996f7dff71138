"""Training images as mmpose's models take them: its own targets and data samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from torch.utils.data import Dataset

from posedeploy.compat import install
from posedeploy.config import ModelConfig
from posedeploy.synthetic.training.scenes import (
    Scene,
    counted_people,
    detector_scene,
    top_down_scene,
)

_AREA = 0.53  # a person's part of the box; mmpose assumes it where no mask is at hand


class DrawnSamples(Dataset[dict[str, Any]]):
    """Sample `number` of a training: 'inputs' uint8 [3, H, W], and mmpose's 'data_samples'.

    The targets are made by `GenerateTarget` of the model's own train pipeline, with the codec of
    its config.
    """

    def __init__(self, model_config: ModelConfig, seed: int) -> None:
        self._config, self._seed = model_config, seed
        self._transforms = _target_transforms(model_config.config)
        cv2.setNumThreads(1)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Raises nothing: every number has a sample."""
        size = self._config.input_size
        if self._config.head_kind.bottom_up:
            results = _of_detector(detector_scene(self._seed, number, size))
        else:
            results = _of_crop(top_down_scene(self._seed, number, size))
        for transform in self._transforms:
            results = transform(results)
        return results


def _of_crop(scene: Scene) -> dict[str, Any]:
    """Covered joints count, as labeled but hidden ones do in COCO; those outside do not."""
    return {
        "img": scene.image,
        "transformed_keypoints": scene.joints,
        "keypoints_visible": scene.inside.astype(np.float32),
    }


def _of_detector(scene: Scene) -> dict[str, Any]:
    people = counted_people(scene)
    boxes = scene.boxes[people]
    return {
        "img": scene.image,
        "keypoints": scene.joints[people],
        "keypoints_visible": (scene.inside & ~scene.covered)[people].astype(np.float32),
        "bbox": boxes,
        "category_id": [1] * len(boxes),
        "area": (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * _AREA,
    }


def _target_transforms(config: Mapping[str, Any]) -> list[Any]:
    """The steps that make the targets; PackPoseInputs without arguments mmpose 1.3 refuses."""
    install()
    import mmpose.codecs
    import mmpose.datasets.transforms  # noqa: F401  fills the registry
    from mmpose.registry import TRANSFORMS

    pipeline = config["train_dataloader"]["dataset"]["pipeline"]
    generate = next(dict(step) for step in pipeline if step["type"] == "GenerateTarget")
    steps = ({**generate, "encoder": config["codec"]}, {"type": "PackPoseInputs"})
    return [TRANSFORMS.build(step) for step in steps]
