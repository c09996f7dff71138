"""COCO's average precision of detected people, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from posedeploy.synthetic.accuracy import AREA
from posedeploy.synthetic.accuracy.detectors import Found
from posedeploy.synthetic.samples import Samples

_PERSON = 1  # COCO's category


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
                    "area": width * height * AREA, "num_keypoints": len(points),
                    "keypoints": _triples(points),
                }
            )  # fmt: skip


def _triples(points: Any) -> list[float]:
    values: list[float] = np.hstack([points, np.full((len(points), 1), 2.0)]).ravel().tolist()
    return values
