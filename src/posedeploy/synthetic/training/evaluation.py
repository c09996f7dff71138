"""Accuracy during training, on figures of the drawn data set's evaluation split."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from posedeploy.config import ModelConfig
from posedeploy.synthetic.fitting.accuracy import compare, locate
from posedeploy.synthetic.fitting.detector_accuracy import Found, detect, matched, summarize
from posedeploy.synthetic.fitting.samples import Samples, make_samples

_PEOPLE = (1, 2, 3)  # people in an image, for a detector
_AREA = 0.53  # a person's part of the box; mmpose assumes it where no mask is at hand
_PERSON = 1  # COCO's category
Measures = dict[str, float]


class Evaluation:
    """The evaluation figures of a model, drawn once."""

    def __init__(self, model_config: ModelConfig, count: int) -> None:
        """Draw `count` images: a person in each, or for a detector one, two and three in turn."""
        self._config = model_config
        people = _PEOPLE if model_config.head_kind.bottom_up else (1,)
        self._samples = [
            make_samples(model_config, "evaluation", count // len(people), number)
            for number in people
        ]

    def __call__(self, model: Any) -> Measures:
        """Measure a model on the CPU in evaluation mode.

        Returns:
            'pck' at 0.05 of the larger side of the box, 'mean_px' and 'median_px' in input px; for
            a detector also 'ap' (OKS .50 to .95, COCO's), 'recall' and 'precision' at IoU 0.5.
        """
        if not self._config.head_kind.bottom_up:
            measured = compare(locate(model, self._config, self._samples[0]), self._samples[0])
            return _rounded(
                pck=measured.pck, mean_px=measured.mean_px, median_px=measured.median_px
            )
        found = [detect(model, samples) for samples in self._samples]
        parts = [
            summarize(matched(some, samples), samples)
            for some, samples in zip(found, self._samples, strict=True)
        ]
        names = ("pck", "mean_px", "median_px", "recall", "precision")
        means = {name: float(np.mean([getattr(part, name) for part in parts])) for name in names}
        return _rounded(ap=average_precision(found, self._samples), **means)


def average_precision(found: Sequence[Sequence[Found]], samples: Sequence[Samples]) -> float:
    """COCO's average precision of keypoints, over OKS .50 to .95; 0 where nothing was found."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, results, image = _Truth(), [], 0
    for some, one in zip(found, samples, strict=True):
        for people, joints, boxes in zip(some, one.joints.numpy(), one.boxes.numpy(), strict=True):
            image += 1
            truth.add(image, joints, boxes)
            results += [
                {
                    "image_id": image, "category_id": _PERSON, "score": float(score),
                    "keypoints": _triples(points),
                }
                for points, score in zip(people.joints, people.scores, strict=True)
            ]  # fmt: skip
    if not results:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its tables and has no switch
        coco = COCO()
        coco.dataset = truth.content
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


class _Truth:
    """Ground truth in COCO's keypoint format."""

    def __init__(self) -> None:
        self.content: dict[str, Any] = {
            "info": {}, "images": [], "annotations": [],
            "categories": [{"id": _PERSON, "name": "person"}],
        }  # fmt: skip

    def add(self, image: int, joints: Any, boxes: Any) -> None:
        self.content["images"].append({"id": image})
        for points, (left, top, right, bottom) in zip(joints, boxes.tolist(), strict=True):
            width, height = right - left, bottom - top
            self.content["annotations"].append(
                {
                    "id": len(self.content["annotations"]) + 1, "image_id": image, "iscrowd": 0,
                    "category_id": _PERSON, "bbox": [left, top, width, height],
                    "area": width * height * _AREA, "num_keypoints": len(points),
                    "keypoints": _triples(points),
                }
            )  # fmt: skip


def _triples(points: Any) -> list[float]:
    values: list[float] = np.hstack([points, np.full((len(points), 1), 2.0)]).ravel().tolist()
    return values


def _rounded(**measures: float) -> Measures:
    return {name: round(value, 4) for name, value in measures.items()}
