"""AP and AR by COCO's own evaluation code, and PCK."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import COCO_SIGMAS, within_reach
from poseconform.datasets.labeled import PERSON, DataSet, LabeledImage

PEOPLE_FILE = "people.npz"
# A top-down model's score for a person is the box's score times the mean of the keypoint scores
# above this one (Simple Baselines, Xiao et al. 2018, section 4.1).
_LEAST_SCORE = 0.2


@dataclass(frozen=True)
class People:
    """People detected in one image."""

    keypoints: NDArray[np.float64]  # [P, K, 3] x and y in image px, score
    scores: NDArray[np.float64]  # [P] of the boxes; 1 where a box was given


def no_people() -> People:
    """No people, as of an image without any."""
    return People(np.zeros((0, 17, 3)), np.zeros(0))


def save_people(detected: Sequence[People], folder: Path) -> None:
    """Write the people of several images into `people.npz`."""
    arrays = {f"keypoints:{i}": people.keypoints for i, people in enumerate(detected)}
    arrays |= {f"scores:{i}": people.scores for i, people in enumerate(detected)}
    np.savez(folder / PEOPLE_FILE, **arrays)  # type: ignore[arg-type]  # its stub is wrong


def read_people(folder: Path) -> list[People]:
    """The people that `save_people` wrote."""
    with np.load(folder / PEOPLE_FILE) as data:
        count = len(data.files) // 2
        return [People(data[f"keypoints:{i}"], data[f"scores:{i}"]) for i in range(count)]


@dataclass(frozen=True)
class Score:
    """COCO's average precision (mean over OKS .50 to .95) and recall, and PCK@.05; 0 to 1."""

    ap: float
    ar: float
    pck: float


def score(data: DataSet, detected: Sequence[People], bottom_up: bool) -> Score:
    """Accuracy of detected people, one entry an image in the data set's order."""
    ap, ar = _coco(data, detected, bottom_up)
    return Score(ap, ar, _pck(data, detected, bottom_up))


def person_scores(people: People, bottom_up: bool) -> NDArray[np.float64]:
    """Scores `[P]` by which people are ranked."""
    if bottom_up or not len(people.scores):
        return people.scores
    points = people.keypoints[..., 2]
    counted = points > _LEAST_SCORE
    mean = np.where(counted, points, 0).sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)
    return np.asarray(people.scores * mean)


def _coco(data: DataSet, detected: Sequence[People], bottom_up: bool) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results: list[dict[str, Any]] = []
    for image, people in zip(data.images, detected, strict=True):
        scores = person_scores(people, bottom_up)
        results += [
            {
                "image_id": image.id, "category_id": PERSON,
                "keypoints": keypoints.ravel().tolist(), "score": float(value),
            }
            for keypoints, value in zip(people.keypoints, scores, strict=True)
        ]  # fmt: skip
    if not results:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its tables and has no switch
        truth = COCO()
        truth.dataset = dict(data.ground_truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(COCO_SIGMAS)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[5])


def _pck(data: DataSet, detected: Sequence[People], bottom_up: bool) -> float:
    pairs = zip(data.images, detected, strict=True)
    truth = np.concatenate([image.keypoints for image in data.images])
    if not (truth[..., 2] > 0).any():
        return 0.0
    return within_reach(
        np.concatenate([_paired(image, people, bottom_up) for image, people in pairs]),
        truth[..., :2],
        np.concatenate([image.boxes[:, 2:] - image.boxes[:, :2] for image in data.images]),
        labeled=truth[..., 2] > 0,
    )


def _paired(image: LabeledImage, people: People, bottom_up: bool) -> NDArray[np.float64]:
    """Keypoints `[P, K, 2]` in the order of the labeled people; infinity for the missed."""
    points = np.asarray(people.keypoints[..., :2], np.float64)
    if not bottom_up:
        return points
    from scipy.optimize import linear_sum_assignment

    truth = image.keypoints[..., :2]
    paired = np.full(truth.shape, np.inf)
    cost = np.linalg.norm(truth[:, None] - points[None], axis=-1).mean(axis=-1)
    rows, columns = linear_sum_assignment(cost)
    paired[rows] = points[columns]
    return paired
