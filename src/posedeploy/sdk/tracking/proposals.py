"""The boxes in which the pose model looks for people in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.tracking.association import pairs
from posedeploy.sdk.tracking.geometry import Floats, area, clipped, iou, suppress
from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.tracks import Tracks

# Where a box is from; where two overlap, or there are too many, the higher one counts.
MISSING, DETECTED, TRACKED = 0, 1, 2
# Frames that a person is looked for around the keypoints though the detector finds nobody there;
# at least one detection. A pose model finds something in most boxes, after a person has left too.
UNCONFIRMED = 10


@dataclass(frozen=True)
class Proposals:
    """Boxes with a row each."""

    boxes: Floats  # `[n, 4]`: left, top, right, bottom in image px
    sources: NDArray[np.int64]  # `[n]`: MISSING, DETECTED or TRACKED
    scores: Floats  # `[n]`: of detected boxes, or as the track has it


def chosen(found: Boxes, options: TrackingOptions) -> NDArray[np.intp]:
    """The rows of detected boxes that are people, best first."""
    right = found.scores > options.det_thr
    if found.labels is not None:
        right &= found.labels == options.det_label
    right &= np.sqrt(area(found.boxes)) >= options.det_min_bbox_size
    order = np.argsort(-found.scores, kind="stable")
    order = order[right[order]]
    return order[suppress(order, iou(found.boxes, found.boxes), options.det_nms_thr)[order]]


def confirmed(found: Boxes, tracks: Tracks, options: TrackingOptions) -> NDArray[np.bool_]:
    """Which tracks `[m]` a detected box belongs to; one below `det_thr` confirms as well.

    The second use of boxes with a low score is that of ByteTrack (Zhang et al., ECCV 2022).
    """
    known = np.zeros(len(tracks.identities), bool)
    known[pairs(iou(found.boxes, tracks.boxes), options.track_iou_thr)[:, 1]] = True
    return known


def propose(
    found: Boxes | None, tracks: Tracks, size: tuple[int, int], options: TrackingOptions
) -> Proposals:
    """Detected boxes, and those predicted for tracks that no detected box is of.

    Missing tracks are looked for only in frames without a detection. Where there are more boxes
    than `pose_max_num_bboxes`, those of people who are tracked come first, then larger ones.
    """
    boxes = clipped(tracks.boxes, size)
    wanted = np.sqrt(area(boxes)) >= max(options.pose_min_bbox_size, 1)
    wanted &= tracks.unconfirmed <= max(1, UNCONFIRMED // max(1, options.det_interval))
    sources = np.where(tracks.missing > 0, MISSING, TRACKED)
    first, scores = sources, tracks.scores
    if found is not None:
        found = found.select(chosen(found, options))
        alike = iou(found.boxes, boxes)
        same = (alike >= options.det_nms_thr) & (tracks.missing == 0)
        wanted &= (tracks.missing == 0) & ~same.any(axis=0)
        first = np.concatenate([np.where(same.any(axis=1), TRACKED, DETECTED), sources])
        boxes = np.concatenate([found.boxes, boxes])
        sources = np.concatenate([np.full(len(found), DETECTED), sources])
        scores = np.concatenate([found.scores, scores])
        wanted = np.concatenate([np.ones(len(found), bool), wanted])
    rows = np.flatnonzero(wanted)
    order = rows[np.lexsort((-area(boxes[rows]), -first[rows]))]
    if options.pose_max_num_bboxes >= 0:
        order = order[: options.pose_max_num_bboxes]
    return Proposals(boxes[order].astype(np.float32), sources[order], scores[order])
