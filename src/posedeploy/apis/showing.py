"""Results drawn on their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.fields import Node
from posedeploy.sdk.images import write_image
from posedeploy.sdk.meta import dataset_meta
from posedeploy.sdk.regions import Image
from posedeploy.sdk.windows import check_windows, show_image
from posedeploy.sdk.writer import compact_dataset_meta


def draw(
    image: Image,
    samples: Sequence[Any],
    meta: Mapping[str, Any] | None,
    config: ModelConfig,
    min_score: float,
) -> Image:
    """A copy of the image with all people of `PoseDataSample`s on it.

    Args:
        image: `[H, W, 3]` uint8, BGR.
        samples: Results of this image.
        meta: A model's `dataset_meta`; None takes the config's.
        config: The model.
        min_score: Keypoints below this score are left out.

    Raises:
        BadInputError: A sample has no `pred_instances`.
    """
    if meta is None:
        from posedeploy.zoo.build import dataset_meta as meta_of

        meta = meta_of(config)
    compact = {"posedeploy": {"dataset_meta": compact_dataset_meta(meta)}}
    people = [_people(sample) for sample in samples]
    return draw_poses(
        image,
        np.concatenate(people) if people else np.zeros((0, 0, 3)),
        dataset_meta(Node(compact, "dataset_meta")),
        min_score,
    )


def _people(sample: Any) -> NDArray[np.float64]:
    if "pred_instances" not in sample:
        raise BadInputError(
            "result", f"a {type(sample).__name__} without pred_instances",
            "a PoseDataSample from `model.test_step(...)`", "Pass `result=results[0]`.",
        )  # fmt: skip
    found = sample.pred_instances
    points = np.asarray(found.keypoints, np.float64)[..., :2]
    scores = np.asarray(found.keypoint_scores, np.float64)
    return np.concatenate([points, scores[..., None]], axis=-1)


def write(drawing: Image, path: Path) -> None:
    """Write a image, whole or not at all; its folder is made.

    Raises:
        BadInputError: The folder cannot be written to, or the suffix is no format of OpenCV's.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, drawing)
    except OSError as error:
        raise BadInputError(
            f"output_file {path}", error.strerror or str(error), "a place for a image",
            "Choose another.",
        ) from error  # fmt: skip


def show(drawing: Image, window_name: str) -> None:
    """Show a image in a window until a key is pressed.

    Raises:
        UnavailableError: There is no display, or OpenCV has no windows.
    """
    check_windows("Use output_file instead.", "show_result")
    show_image(window_name, drawing)
