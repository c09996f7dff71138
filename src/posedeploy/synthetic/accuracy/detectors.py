"""How well a detector finds drawn figures and their joints, several in an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from posedeploy.synthetic.accuracy import AREA
from posedeploy.synthetic.calibration import single_thread
from posedeploy.synthetic.drawn import SIGMAS
from posedeploy.synthetic.samples import Samples

_CHUNK = 8  # images a run, so that memory stays small
_LEAST_IOU = 0.5  # of a detection that counts as a figure's

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """A detector's people in one image, best first, in input px.

    Attributes:
        boxes: [M, 4] left, top, right, bottom.
        scores: [M], 0..1.
        joints: [M, 17, 2].
    """

    boxes: Array
    scores: Array
    joints: Array


@dataclass(frozen=True)
class DetectorAccuracy:
    """What was measured on held-out images, after the model's own suppression of overlaps.

    Attributes:
        recall: Part of the figures that a detection covers with an IoU of at least 0.5; each
            detection covers one figure, the best-scored detections choose first.
        precision: Part of the detections that cover a figure.
        iou: Mean over the figures that were found.
        pck: Part of all joints nearer than 0.05 of the larger side of the figure's box; joints
            of figures that were not found count as missed.
        pck_10: The same at 0.1.
        mean_px: Mean distance in input px, over the figures that were found.
        median_px: Median distance in input px, over the same.
        oks: Mean object keypoint similarity over all figures, 0 for those not found.
        shift_px: Mean distance in input px between the joints that are found and those that are
            found with weights and activations rounded to 8 bits, over the figures found by both.
        ap: COCO's average precision of keypoints, OKS .50 to .95.
    """

    recall: float
    precision: float
    iou: float
    pck: float
    pck_10: float
    mean_px: float
    median_px: float
    oks: float
    shift_px: float = 0.0
    ap: float = 0.0


def detect(model: Any, samples: Samples) -> list[Found]:
    """What mmpose's own post-processing makes of each image, at the model's own thresholds."""
    from mmpose.structures import PoseDataSample

    found = []
    with single_thread(), torch.no_grad():
        for batch in torch.split(samples.inputs, _CHUNK):
            labels = [PoseDataSample(metainfo={"input_size": samples.size}) for _ in batch]
            results = model.head.predict(
                model.extract_feat(batch), labels, test_cfg=dict(model.test_cfg)
            )
            found += [
                Found(
                    *(
                        np.asarray(result[name], np.float64)
                        for name in ("bboxes", "bbox_scores", "keypoints")
                    )
                )
                for result in results
            ]
    return found


@dataclass(frozen=True)
class Matched:
    """Each figure's detection.

    Attributes:
        joints: [N, P, 17, 2] in input px; NaN where a figure was not found.
        iou: [N, P]; 0 where a figure was not found.
        detections: How many there were in all images.
    """

    joints: Array
    iou: Array
    detections: int


def matched(found: list[Found], samples: Samples) -> Matched:
    """Give each figure at most one detection: the best-scored choose first, the nearest box."""
    boxes = samples.boxes.numpy().astype(np.float64)
    joints = np.full(samples.joints.shape, np.nan)
    overlap = np.zeros(boxes.shape[:2])
    for image, detections in enumerate(found):
        for place in np.argsort(-detections.scores, kind="stable"):
            shares = ious(detections.boxes[place], boxes[image])
            shares[overlap[image] > 0] = 0.0
            figure = int(shares.argmax())
            if shares[figure] >= _LEAST_IOU:
                overlap[image, figure] = shares[figure]
                joints[image, figure] = detections.joints[place]
    return Matched(joints, overlap, sum(len(detections.boxes) for detections in found))


def ious(box: Array, boxes: Array) -> Array:
    """Intersection over union of a box [4] with boxes [P, 4]."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))


def summarize(match: Matched, samples: Samples) -> DetectorAccuracy:
    """The measures of matched detections, but for `shift_px` and `ap`."""
    distance = np.linalg.norm(match.joints - samples.joints.numpy(), axis=-1)  # [N, P, 17]
    sides = (samples.boxes[..., 2:] - samples.boxes[..., :2]).numpy().astype(np.float64)
    missed = np.nan_to_num(distance, nan=np.inf)
    relative = missed / sides.max(axis=-1)[..., None]
    variance = 2 * (2 * np.array(SIGMAS)) ** 2 * sides.prod(axis=-1)[..., None] * AREA
    seen = match.iou > 0
    return DetectorAccuracy(
        recall=float(seen.mean()),
        precision=float(seen.sum() / max(match.detections, 1)),
        iou=float(match.iou[seen].mean()) if seen.any() else 0.0,
        pck=float((relative < 0.05).mean()),
        pck_10=float((relative < 0.1).mean()),
        mean_px=float(distance[seen].mean()) if seen.any() else float("nan"),
        median_px=float(np.median(distance[seen])) if seen.any() else float("nan"),
        oks=float(np.exp(-(missed**2) / variance).mean()),
    )
