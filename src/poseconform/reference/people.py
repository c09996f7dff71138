"""The people that mmpose's own estimator finds in labeled images, in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
        elif not len(labeled.boxes):
            found.append(nobody())
        else:
            parts = [_people(s) for s in inference_topdown(model, image, labeled.boxes)]
            keypoints, scores = (
                [getattr(p, name) for p in parts] for name in ("keypoints", "scores")
            )
            found.append(People(np.concatenate(keypoints), np.concatenate(scores)))
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


def write(found: Sequence[People], folder: Path) -> None:
    """Write people of several images into `people.npz`."""
    arrays = {f"keypoints:{i}": people.keypoints for i, people in enumerate(found)}
    arrays |= {f"scores:{i}": people.scores for i, people in enumerate(found)}
    np.savez(folder / PEOPLE_FILE, **arrays)  # type: ignore[arg-type]  # its stub is wrong


def read_people(folder: Path) -> list[People]:
    """The people that `write` wrote."""
    with np.load(folder / PEOPLE_FILE) as data:
        count = len(data.files) // 2
        return [People(data[f"keypoints:{i}"], data[f"scores:{i}"]) for i in range(count)]
