"""Which of a dense detector's candidates become people: threshold, suppression, top-k.

The same choice as the exported graphs make where they can hold it: best first, and a box goes
if its IoU with a chosen one is above the threshold (the rule of ONNX's `NonMaxSuppression`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
MAX_ROWS = 2**31 - 1


@dataclass(frozen=True)
class Suppression:
    """The settings; the names are those of `pipeline.json`.

    Attributes:
        score_threshold: Lower limit of a score, exclusive.
        iou_threshold: Upper limit of the IoU of two chosen boxes, inclusive; from 1 on, all stay.
        pre_top_k: How many candidates, best first, take part at most.
        max_output: How many survive suppression at most.
        keep_top_k: How many people an image has at most.
    """

    score_threshold: float
    iou_threshold: float
    pre_top_k: int
    max_output: int
    keep_top_k: int

    def choose(self, boxes: Floats, scores: Floats) -> NDArray[np.intp]:
        """Indices of the people among boxes `[P, 4]` with scores `[P]`, best first."""
        order = np.argsort(-scores, kind="stable")[: self.pre_top_k]
        order = order[scores[order] > np.float32(self.score_threshold)]
        if self.iou_threshold < 1.0:
            order = _suppress(boxes[order], self.iou_threshold, self.max_output, order)
        return order[: self.keep_top_k]


def _suppress(
    boxes: Floats, threshold: float, limit: int, order: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Greedy suppression of boxes `[P, 4]`, best first; the union has a floor of 1e-6 px²."""
    chosen: list[np.intp] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.arange(len(boxes))
    while left.size and len(chosen) < limit:
        best, others = left[0], left[1:]
        chosen.append(order[best])
        low = np.maximum(boxes[best, :2], boxes[others, :2])
        high = np.minimum(boxes[best, 2:], boxes[others, 2:])
        overlap = (high - low).clip(np.float32(0)).prod(axis=1)
        union = (area[best] + area[others] - overlap).clip(np.float32(1e-6))
        left = others[overlap / union <= np.float32(threshold)]
    return np.asarray(chosen, np.intp)


def suppression(params: Node) -> Suppression:
    """Read the settings from a component's `params`.

    Raises:
        BadInputError: One is missing or out of its range.
    """
    score, iou = params.at("score_threshold"), params.at("iou_threshold")
    if not 0 <= score.is_a(float) < 1:
        raise score.error("a number from 0 to below 1")
    if not 0 <= iou.is_a(float) <= 1:
        raise iou.error("a number from 0 to 1")
    return Suppression(float(score.value), float(iou.value), *(
        _count(params.at(key)) for key in ("pre_top_k", "max_output", "keep_top_k")
    ))  # fmt: skip


def _count(node: Node) -> int:
    """A count from 1 on; `Node.is_a` refuses what is larger than any real one."""
    value = MAX_ROWS if node.value == MAX_ROWS else node.is_a(int)
    if value < 1:
        raise node.error("an integer from 1")
    return value
