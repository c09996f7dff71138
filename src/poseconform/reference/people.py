"""The people that mmpose's own estimator finds in labeled images, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People
from poseconform.matrix.cells import Model
from poseconform.reference.heads import BottomUp, reference_head

PEOPLE_FILE = "people.npz"


def write_people(
    judged: Model, checkpoint: str, images: Sequence[LabeledImage], folder: str
) -> dict[str, object]:
    """Run mmpose's estimator and write what it finds; runs in a child that has torch loaded.

    Args:
        judged: The model.
        checkpoint: Its checkpoint.
        images: With their true boxes, which top-down models get.
        folder: Where `people.npz` goes.
    """
    import torch

    from poseconform.reference.network import load_model

    torch.set_num_threads(1)
    model = load_model(judged.config, checkpoint)
    from mmpose.apis import inference_bottomup, inference_topdown

    found = []
    for labeled in images:
        image = labeled.pixels()
        if isinstance(reference_head(judged.variant).kind, BottomUp):
            found.append(_people(inference_bottomup(model, image)[0]))
        else:
            parts = [_people(s) for s in inference_topdown(model, image, labeled.boxes)]
            found.append(_joined(parts) if len(labeled.boxes) else nobody())
    write(found, Path(folder))
    return {"images": len(images), "torch": torch.__version__}


def _people(sample: Any) -> People:
    found = sample.pred_instances
    points = np.asarray(found.keypoints, np.float64)[..., :2]
    marks = np.asarray(found.keypoint_scores, np.float64)[..., None]
    return People(np.concatenate([points, marks], -1), np.asarray(found.bbox_scores, np.float64))


def nobody() -> People:
    """No people, as of an image without any."""
    return People(np.zeros((0, 17, 3)), np.zeros(0))


def _joined(parts: Sequence[People]) -> People:
    return People(
        np.concatenate([p.keypoints for p in parts]), np.concatenate([p.scores for p in parts])
    )


def write(found: Sequence[People], folder: Path) -> None:
    """Write people of several images into `people.npz`."""
    whole = _joined([people for people in found if len(people.scores)] or [nobody()])
    counts = np.asarray([len(people.scores) for people in found])
    np.savez(folder / PEOPLE_FILE, counts=counts, keypoints=whole.keypoints, scores=whole.scores)


def read_people(folder: Path) -> list[People]:
    """The people that `write` wrote."""
    with np.load(folder / PEOPLE_FILE) as data:
        ends: NDArray[np.int64] = np.cumsum(data["counts"])[:-1]
        keypoints, scores = np.split(data["keypoints"], ends), np.split(data["scores"], ends)
    return [People(k, s) for k, s in zip(keypoints, scores, strict=True)]
