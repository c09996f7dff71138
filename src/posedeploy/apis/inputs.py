"""Images through mmpose's own test pipeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.compat import install
from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.sdk.images import read_image
from posedeploy.sdk.poses import as_boxes
from posedeploy.sdk.regions import Image, check_image


def load(source: str | Path | Image) -> Image:
    """A image as `[H, W, 3]` uint8, BGR, from a path or as it is.

    Raises:
        BadInputError: No such file, not a image, or not such an array.
    """
    if not isinstance(source, str | Path):
        return check_image(source)
    return check_image(read_image(Path(source)))


def collate(
    config: ModelConfig, images: Sequence[Image], bboxes: ArrayLike | None
) -> dict[str, list[Any]]:
    """What `test_step` takes: 'inputs' and 'data_samples', one entry a box or image.

    Args:
        config: The model.
        images: Images, BGR.
        bboxes: `[N, 4]` in image px, for one image of a top-down model; None takes the whole.

    Raises:
        BadInputError: Boxes for several images, or for a model that finds people itself.
    """
    from mmengine.dataset import pseudo_collate

    from posedeploy.zoo.build import dataset_meta

    if bboxes is not None and (config.head_kind.bottom_up or len(images) != 1):
        reason = "finds people itself" if config.head_kind.bottom_up else "takes one image"
        raise BadInputError(
            "bboxes", f"boxes and {len(images)} images",
            f"no boxes: {config.path.name} {reason}", "Leave them out, or call once a image.",
        )  # fmt: skip
    pipeline, meta = _pipeline(config), dataset_meta(config)
    samples = [
        pipeline({"img": image, **person, **meta})
        for image in images
        for person in _people(config, image, bboxes)
    ]
    if not samples:
        raise BadInputError("images and boxes", "none", "at least one of each", "Pass a image.")
    collated: dict[str, list[Any]] = pseudo_collate(samples)
    return collated


def _people(
    config: ModelConfig, image: Image, bboxes: ArrayLike | None
) -> list[dict[str, NDArray[np.float32]]]:
    """What a top-down pipeline asks for besides the image, once a box."""
    if config.head_kind.bottom_up:
        return [{}]
    height, width = image.shape[:2]
    boxes = as_boxes([0, 0, width, height] if bboxes is None else bboxes).astype(np.float32)
    return [{"bbox": box[None], "bbox_score": np.ones(1, np.float32)} for box in boxes]


def _pipeline(config: ModelConfig) -> Callable[[dict[str, Any]], Any]:
    install()
    import mmpose.datasets.transforms  # noqa: F401  fills the registry
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    init_default_scope("mmpose")
    compose: Callable[[dict[str, Any]], Any] = Compose([dict(t) for t in config.test_pipeline])
    return compose
