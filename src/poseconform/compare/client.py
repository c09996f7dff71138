"""A client's keypoints in image px against mmpose's own, over the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import (
    Detections,
    keypoint_distances,
    match_detections,
    pixel_distances,
)
from poseconform.compare.tensors import Verdict, as_record
from poseconform.compare.tolerances import NEAR_TIES, SDK_P99_PX, Tolerance
from poseconform.reference.values import Reference
from poseconform.subject.clients import ClientAnswer

IMAGE_MATCH_PX = 8.0  # a image is at most some four times the input's size


def judge_client(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance, places: int
) -> Verdict:
    """Compare the answers for the first samples with the reference's image keypoints.

    Args:
        answers: One a sample.
        reference: Of the model.
        row: Tolerance of the flow.
        places: How many people a client can give for a image.
    """
    if not answers:
        return Verdict(failures=("the client gave no answer",))
    if reference.bottom_up:
        distances, failures = _bottom_up(answers, reference, row, places)
    else:
        distances, failures = _top_down(answers, reference, row)
    worst = pixel_distances(distances)
    if not np.isfinite(distances).all():
        failures.append("a keypoint through the SDK client is not finite")
    elif row.gate_keypoints and not worst.p99 <= SDK_P99_PX:
        failures.append(
            f"keypoints through the SDK client are {worst.p99:.3g} px off at the 99th percentile "
            f"(at most {worst.max:.3g} px); allowed {SDK_P99_PX} px"
        )
    return Verdict((), tuple(failures), as_record(worst))


def _top_down(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance
) -> tuple[NDArray[np.float64], list[str]]:
    ties = reference.near_ties(row)
    parts, failures = [], []
    for i, answer in enumerate(answers):
        expected = reference.image_keypoints[i]
        if answer.keypoints.shape != expected.shape:
            failures.append(
                f"sample {i}: keypoints {list(answer.keypoints.shape)}; "
                f"expected {list(expected.shape)}"
            )
            continue
        distances = keypoint_distances(answer.keypoints, expected)
        parts.append(distances[~ties[i] | ~np.isfinite(distances)])
    return np.concatenate(parts) if parts else np.zeros(0), failures


def _bottom_up(
    answers: Sequence[ClientAnswer], reference: Reference, row: Tolerance, places: int
) -> tuple[NDArray[np.float64], list[str]]:
    parts, failures = [], []
    for i, answer in enumerate(answers):
        got = _people(answer.keypoints, answer.scores)
        expected = _people(reference.image_keypoints[i], reference.image_scores[i])
        rows, columns = match_detections(got, expected, IMAGE_MATCH_PX)
        margin = NEAR_TIES[row.precision]
        unsure = int((~reference.detections[i].stable).sum())
        strange = len(got) - len(rows) > unsure or (len(rows) == 0 and len(expected) > 0)
        if strange and row.gate_tensors:
            failures.append(
                f"sample {i}: {len(got) - len(rows)} of {len(got)} people are not among the "
                f"reference's {len(expected)} (near ties within {margin.iou} IoU: {unsure})"
            )
        lost = missing_people(columns, reference.image_scores[i], reference, i, places)
        if lost and row.gate_tensors:
            failures.append(
                f"sample {i}: {lost} people of the reference are missing among {len(got)} "
                f"(there is place for {places})"
            )
        parts.append(keypoint_distances(got.keypoints[rows], expected.keypoints[columns]).ravel())
    return np.concatenate(parts), failures


def missing_people(
    found: NDArray[np.intp],
    scores: NDArray[np.float64],
    reference: Reference,
    sample: int,
    places: int,
) -> int:
    """People that a client must find and has not: no near tie excuses them.

    Args:
        found: Those of the reference's people that were matched.
        scores: `[P]` of all the reference's people.
        reference: Of the model.
        sample: Which image.
        places: How many people the client can give; each near tie can push one more out.
    """
    truth = reference.detections[sample]
    stable = truth.stable[truth.base]  # by descending score, as `possible` is
    order = np.argsort(-scores, kind="stable")
    sure = max(0, places - int((~truth.stable).sum()))
    lost = ~np.isin(order, found) & stable
    return int(lost[:sure].sum())


def _people(keypoints: NDArray[np.float64], scores: NDArray[np.float64]) -> Detections:
    return Detections(np.zeros((len(scores), 4)), scores, keypoints, np.zeros(keypoints.shape[:2]))
