"""A client's keypoints in image px against mmpose's own, over the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .clients import ClientAnswer
from .judgement import Verdict, as_record
from .metrics import Detections, keypoint_distances, match_detections, pixel_distances
from .reference import Reference
from .tolerance import NEAR_TIES, SDK_P99_PX, Tolerance

IMAGE_MATCH_PX = 8.0  # a picture is at most some four times the input's size


def judge_client(answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance) -> Verdict:
    """Compare the answers for the first samples with the reference's image keypoints."""
    compare = _bottom_up if reference.bottom_up else _top_down
    distances, complaints = compare(answers, reference, row)
    worst = pixel_distances(distances)
    if row.gate_keypoints and not worst.p99 <= SDK_P99_PX:
        complaints.append(
            f"keypoints through the SDK client are {worst.p99:.3g} px off at the 99th percentile "
            f"(at most {worst.max:.3g} px); allowed {SDK_P99_PX} px"
        )
    return Verdict((), tuple(complaints), as_record(worst))


def _top_down(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance
) -> tuple[NDArray[np.float64], list[str]]:
    ties = reference.near_ties(row)
    parts, complaints = [], []
    for i, answer in enumerate(answers):
        expected = reference.image_keypoints[i]
        if answer.keypoints.shape != expected.shape:
            complaints.append(
                f"sample {i}: keypoints {list(answer.keypoints.shape)}; "
                f"expected {list(expected.shape)}"
            )
            continue
        parts.append(keypoint_distances(answer.keypoints, expected)[:, ~ties[i]].ravel())
    return np.concatenate(parts) if parts else np.zeros(0), complaints


def _bottom_up(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance
) -> tuple[NDArray[np.float64], list[str]]:
    parts, complaints = [], []
    for i, answer in enumerate(answers):
        got = _people(answer.keypoints, answer.scores)
        expected = _people(reference.image_keypoints[i], reference.image_scores[i])
        rows, columns = match_detections(got, expected, IMAGE_MATCH_PX)
        margin = NEAR_TIES[row.precision]
        unsure = int((~reference.detections[i].stable).sum())
        if len(got) - len(rows) > unsure or (len(rows) == 0 and len(expected) > 0):
            complaints.append(
                f"sample {i}: {len(got) - len(rows)} of {len(got)} people are not among the "
                f"reference's {len(expected)} (near ties within {margin.iou} IoU: {unsure})"
            )
        parts.append(keypoint_distances(got.keypoints[rows], expected.keypoints[columns]).ravel())
    return np.concatenate(parts), complaints


def _people(keypoints: NDArray[np.float64], scores: NDArray[np.float64]) -> Detections:
    return Detections(np.zeros((len(scores), 4)), scores, keypoints, np.zeros(keypoints.shape[:2]))
