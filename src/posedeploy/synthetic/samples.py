"""Drawn figures as a model sees them: normalized inputs, and joints in input px."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posedeploy.compat import install
from posedeploy.config import ModelConfig
from posedeploy.synthetic.drawn import SIZE, Figure, drawn_figures
from posedeploy.synthetic.images import network_input


@dataclass(frozen=True)
class Samples:
    """Network inputs with known joints; P people in each, one for a top-down model.

    Attributes:
        inputs: [N, 3, H, W] float32, normalized as the model wants them.
        joints: [N, P, 17, 2] float32, x and y in input px.
        boxes: [N, P, 4] float32, left, top, right, bottom in input px.
        figures: The N images they come from.
        centers: [N, 2] float64, where the middle of the input lies, in image px.
        extents: [N, 2] float64, width and height of what the input shows, in image px.
    """

    inputs: torch.Tensor
    joints: torch.Tensor
    boxes: torch.Tensor
    figures: tuple[Figure, ...]
    centers: NDArray[np.float64]
    extents: NDArray[np.float64]

    @property
    def size(self) -> tuple[int, int]:
        """(W, H) of the inputs in px."""
        return self.inputs.shape[3], self.inputs.shape[2]


def make_samples(
    model_config: ModelConfig,
    split: str,
    count: int,
    people: int = 1,
    size: tuple[int, int] = SIZE,
) -> Samples:
    """The first figures of a split, through the model's own test pipeline.

    Args:
        model_config: The model's config.
        split: Of the drawn data set.
        count: How many images.
        people: People in each; 1 for a top-down model, which sees one box at a time.
        size: (W, H) of the images in px.
    """
    figures = tuple(drawn_figures(split, count, people, size))
    transforms = _transforms(model_config.test_pipeline)
    seen = [_through(transforms, figure) for figure in figures]
    pixels = network_input(
        [results["img"] for results in seen],
        model_config.mean,
        model_config.std,
        model_config.bgr_to_rgb,
    )
    centers = np.stack([np.asarray(results["input_center"], np.float64) for results in seen])
    extents = np.stack([np.asarray(results["input_scale"], np.float64) for results in seen])

    def to_input(points: list[NDArray[np.float32]]) -> torch.Tensor:
        """[N, P, ..., 2] from image px to input px: mmpose's way back, turned round."""
        stacked = np.stack(points)
        shape = (-1, *[1] * (stacked.ndim - 2), 2)
        center, extent = centers.reshape(shape), extents.reshape(shape)
        mapped = (stacked - center + extent / 2) / extent * model_config.input_size
        return torch.from_numpy(mapped.astype(np.float32))

    corners = to_input([figure.bboxes.reshape(-1, 2, 2) for figure in figures])
    joints = to_input([figure.keypoints for figure in figures])
    return Samples(torch.from_numpy(pixels), joints, corners.flatten(2), figures, centers, extents)


def _through(transforms: Sequence[Any], figure: Figure) -> dict[str, Any]:
    results = {"img": figure.image, "bbox": figure.bboxes, "keypoints": figure.keypoints}
    for transform in transforms:
        results = transform(results)
    return results


def _transforms(pipeline: Sequence[Any]) -> list[Any]:
    """The pipeline's transforms but for the last, which packs."""
    install()
    import mmpose.datasets.transforms  # noqa: F401  fills the registry
    from mmpose.registry import TRANSFORMS

    return [TRANSFORMS.build(step) for step in pipeline if step["type"] != "PackPoseInputs"]
