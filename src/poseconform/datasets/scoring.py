"""AP and AR by COCO's own evaluation code, and PCK."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import within_reach
from poseconform.datasets.labeled import PERSON, DataSet, LabeledImage

# A top-down model's score for a person is the box's score times the mean of the keypoint scores
# above this one (Simple Baselines, Xiao et al. 2018, section 4.1).
_LEAST_SCORE = 0.2


@dataclass(frozen=True)
class People:
    """People found in one image.

    Attributes:
        keypoints: `[P, K, 3]` x and y in image px, score.
        scores: `[P]` of the boxes; 1 where a box was given.
    """

    keypoints: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Accuracy on a data set, each from 0 to 1.

    Attributes:
        ap: COCO's average precision of keypoints, mean over OKS .50 to .95.
        ar: Its average recall.
        pck: Labeled keypoints within 5 % of the box's larger side.
    """

    ap: float
    ar: float
    pck: float


def score(data: DataSet, found: Sequence[People], bottom_up: bool) -> Score:
    """Accuracy of the people found, one entry an image in the data set's order."""
    ap, ar = _coco(data, found, bottom_up)
    return Score(ap, ar, _pck(data, found, bottom_up))


def person_scores(people: People, bottom_up: bool) -> NDArray[np.float64]:
    """Scores `[P]` by which people are ranked."""
    if bottom_up or not len(people.scores):
        return people.scores
    points = people.keypoints[..., 2]
    counted = points > _LEAST_SCORE
    mean = np.where(counted, points, 0).sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1)
    return np.asarray(people.scores * mean)


def _coco(data: DataSet, found: Sequence[People], bottom_up: bool) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = [
        _result(image.id, keypoints, value)
        for image, people in zip(data.images, found, strict=True)
        for keypoints, value in zip(
            people.keypoints, person_scores(people, bottom_up), strict=True
        )
    ]
    if not results:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its tables and has no switch
        truth = COCO()
        truth.dataset = dict(data.ground_truth)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(data.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[5])


def _result(image_id: int, keypoints: NDArray[np.float64], value: float) -> Mapping[str, Any]:
    return {
        "image_id": image_id,
        "category_id": PERSON,
        "keypoints": keypoints.ravel().tolist(),
        "score": float(value),
    }


def _pck(data: DataSet, found: Sequence[People], bottom_up: bool) -> float:
    pairs = list(zip(data.images, found, strict=True))
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
    """Found keypoints `[P, K, 2]` in the order of the labeled people; infinity for the missed."""
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
