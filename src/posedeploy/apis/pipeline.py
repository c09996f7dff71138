"""The test pipeline of an MMPose config, run by mmpose itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.compat import install
from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.sdk.images import Image
from posedeploy.sdk.poses import as_boxes


def collate(
    config: ModelConfig,
    images: Sequence[Image],
    bboxes: ArrayLike | None,
    meta: Mapping[str, Any] | None = None,
) -> dict[str, list[Any]]:
    """What `create_input` returns, of images in BGR.

    `meta` is a model's `dataset_meta`; None takes the config's.
    """
    install()
    import mmpose.datasets.transforms  # noqa: F401  fills the registry
    from mmengine.dataset import Compose, pseudo_collate
    from mmengine.registry import init_default_scope

    from posedeploy.zoo.build import dataset_meta

    if bboxes is not None and (config.head_kind.bottom_up or len(images) != 1):
        reason = "finds people itself" if config.head_kind.bottom_up else "takes one image"
        raise BadInputError(
            "bboxes", f"boxes and {len(images)} images",
            f"no boxes: {config.path.name} {reason}", "Leave them out, or call once an image.",
        )  # fmt: skip
    init_default_scope("mmpose")
    pipeline: Any = Compose([dict(transform) for transform in config.test_pipeline])
    meta = dataset_meta(config) if meta is None else meta
    samples = [
        pipeline({"img": image, **person, **meta})
        for image in images
        for person in _people(config, image, bboxes)
    ]
    if not samples:
        raise BadInputError("images and boxes", "none", "at least one of each", "Pass an image.")
    collated: dict[str, list[Any]] = pseudo_collate(samples)
    return collated


def _people(
    config: ModelConfig, image: Image, bboxes: ArrayLike | None
) -> list[dict[str, NDArray[np.float32]]]:
    """What a top-down pipeline needs besides the image, once a box."""
    if config.head_kind.bottom_up:
        return [{}]
    height, width = image.shape[:2]
    boxes = as_boxes([0, 0, width, height] if bboxes is None else bboxes).astype(np.float32)
    return [{"bbox": box[None], "bbox_score": np.ones(1, np.float32)} for box in boxes]
