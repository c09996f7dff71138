"""Who looks for people in labeled images: mmpose, and the client under test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People
from poseconform.subject import clients

FILE = "people.npz"


def write_by_mmpose(
    config_path: str, checkpoint: str, images: Sequence[LabeledImage], folder: str
) -> dict[str, object]:
    """Let mmpose's own estimator look, in float32, and write what it finds.

    Called by name in a child process that has torch loaded.

    Args:
        config_path: MMPose model config.
        checkpoint: Its checkpoint.
        images: With their true boxes, which top-down models get.
        folder: Where `people.npz` goes.
    """
    import torch

    from poseconform.reference.network import load_model

    torch.set_num_threads(1)
    model = load_model(config_path, checkpoint)
    from mmpose.apis import inference_bottomup, inference_topdown

    found = []
    for labeled in images:
        image = labeled.pixels()
        if hasattr(model.head, "head_module"):
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


def by_client(folder: str, images: Sequence[LabeledImage], bottom_up: bool) -> list[People]:
    """Let `posedeploy.sdk` look, from the folder alone; called by name in a child."""
    with clients.detector_of(folder) as detector:
        return [_ask(detector, labeled, bottom_up) for labeled in images]


def _ask(detector: Any, labeled: LabeledImage, bottom_up: bool) -> People:
    if not bottom_up and not len(labeled.boxes):
        return nobody()
    found = detector.detect(labeled.pixels(), None if bottom_up else labeled.boxes)
    return People(np.asarray(found.keypoints, np.float64), np.asarray(found.scores, np.float64))


def nobody() -> People:
    """What is found where nobody is looked for."""
    return People(np.zeros((0, 17, 3)), np.zeros(0))


def _joined(parts: Sequence[People]) -> People:
    return People(
        np.concatenate([p.keypoints for p in parts]), np.concatenate([p.scores for p in parts])
    )


def write(found: Sequence[People], folder: Path) -> None:
    """Write people of several images into `people.npz`."""
    counts = [len(people.scores) for people in found]
    whole = _joined([nobody(), *found]) if not any(counts) else _joined(
        [people for people in found if len(people.scores)]
    )  # fmt: skip
    np.savez(
        folder / FILE, counts=np.asarray(counts), keypoints=whole.keypoints, scores=whole.scores
    )


def read(folder: Path) -> list[People]:
    """What `write` wrote."""
    with np.load(folder / FILE) as data:
        ends: NDArray[np.int64] = np.cumsum(data["counts"])[:-1]
        keypoints, scores = np.split(data["keypoints"], ends), np.split(data["scores"], ends)
    return [People(k, s) for k, s in zip(keypoints, scores, strict=True)]
