"""Which pose is which track."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.tracking.geometry import Floats, area, iou, oks
from posedeploy.sdk.tracking.options import TrackingOptions
from posedeploy.sdk.tracking.tracks import Measured, Tracks

Pairs = NDArray[np.intp]  # `[p, 2]`: row and column
# OKS from which a pose is surely that of a track that was there in the last frame. In ten videos
# of figures that cross (fixtures/walking_figures.py) 4 identities changed at 0.5, none at 0.7.
SURE = 0.7


def pairs(alike: Floats, least: float) -> Pairs:
    """Rows and columns of `[n, m]` that belong together, the most alike first, each at most once.

    Greedy, as in MMDeploy: of what is left, the most alike, down to `least`.
    """
    rows, columns = set[int](), set[int]()
    found = []
    places = np.flatnonzero(alike >= least)
    for place in places[np.argsort(-alike.flat[places], kind="stable")].tolist():
        row, column = divmod(place, alike.shape[1])
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            found.append((row, column))
    return np.array(found, np.intp).reshape(-1, 2)


def associate(
    poses: Measured, tracks: Tracks, options: TrackingOptions, sigmas: Floats | None
) -> Pairs:
    """Pose and track of each person that was tracked before.

    At first sight a pose is a track's if their boxes overlap and, with `sigmas`, their keypoints
    agree: where two people cross, boxes of both overlap with both. What is left, tracks that were
    missing among them, goes by the boxes alone.
    """
    overlap = iou(poses.boxes, tracks.boxes)
    near = overlap >= options.track_iou_thr
    sure, alike = near & (tracks.missing == 0), overlap
    if sigmas is not None:
        agree = similarity(poses, tracks, sigmas, options)
        sure, alike = sure & (agree >= SURE), overlap + agree
    matched = pairs(np.where(sure, alike, -1), 0)
    near[matched[:, 0]] = near[:, matched[:, 1]] = False
    return np.concatenate([matched, pairs(np.where(near, overlap, -1), 0)])


def similarity(
    poses: Measured, others: Measured | Tracks, sigmas: Floats, options: TrackingOptions
) -> Floats:
    """OKS `[n, m]`; the area is the mean of what both poses' keypoints span."""
    areas = (area(poses.boxes)[:, None] + area(others.boxes)[None]) / 2
    areas = areas / options.pose_bbox_scale**2
    return oks(poses.keypoints, others.keypoints, areas, sigmas, options.pose_kpt_thr)
