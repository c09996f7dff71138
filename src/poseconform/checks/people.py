"""People that a detector finds on drawn figures, against those that PyTorch finds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.accuracy import limit_of, shift_failures, too_few_joints
from poseconform.checks.declaration import Verdict, check
from poseconform.checks.tensors import as_record
from poseconform.compare.metrics import (
    keypoint_distances,
    keypoint_similarity,
    pixel_distances,
    within_reach,
)
from poseconform.compare.tolerances import LEAST_PCK, ShiftLimit
from poseconform.datasets.labeled import LabeledImage
from poseconform.datasets.scoring import People
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import client_people, pytorch_people
from poseconform.matrix.cells import Cell
from poseconform.matrix.weights import LOCATING
from poseconform.results.records import AccuracyRecord

_LEAST_OKS = 0.5  # of a person with the figure that it stands for; COCO's loosest threshold


def _finds_people(cell: Cell, _device: str) -> bool:
    """Detectors with weights that find figures; others find hundreds of people by chance.

    A user's own checkpoint is not among them: it need not find figures, and has no limits.
    """
    return cell.model.bottom_up and cell.model.weights in LOCATING


@check(stage="keypoints", suite="parity", applies=_finds_people)
def people(judge: Judge, cell: Cell) -> Verdict:
    """The figures that PyTorch finds are found, and their keypoints stay where they are."""
    judge.conversion(cell)  # first: if it fails, its failure is the one to report
    data = judge.dataset(True)
    limit = limit_of(cell)
    if limit.shift is None:
        raise LookupError(f"no limit for keypoints of {cell.model.family} {cell.flow.precision}")
    found = client_people(judge, cell, data)
    return judge_people(
        data.images, found, pytorch_people(judge, cell.model, data), limit.shift, cell.model.shape
    )


def judge_people(
    images: Sequence[LabeledImage],
    found: Sequence[People],
    reference: Sequence[People],
    limit: ShiftLimit,
    shape: tuple[int, int],
) -> Verdict:
    """Compare the people that a deployment finds with PyTorch's, figure by figure.

    Shifts are over the figures that both find. A figure that only PyTorch finds has lost all its
    joints, and one that only the deployment finds has won them. There is no verdict where PyTorch
    itself finds too few joints.

    Args:
        images: Labeled images, whose size is that of their pixels.
        found: The deployment's people, image by image.
        reference: PyTorch's.
        limit: In px of the network's input.
        shape: (H, W) of the network's input, px, into which a whole image is fitted.
    """
    truth = np.concatenate([image.keypoints[..., :2] for image in images])
    sizes = np.concatenate([image.boxes[:, 2:] - image.boxes[:, :2] for image in images])
    got = np.concatenate([of_figures(i, p) for i, p in zip(images, found, strict=True)])
    expected = np.concatenate([of_figures(i, p) for i, p in zip(images, reference, strict=True)])
    pck, own = (within_reach(np.nan_to_num(p, nan=np.inf), truth, sizes) for p in (got, expected))
    if own < LEAST_PCK:
        return too_few_joints(own)
    seen, known = (np.isfinite(points).all(axis=(1, 2)) for points in (got, expected))
    both = seen & known
    if not both.any():
        return Verdict(("no figure that PyTorch finds is found",))
    scale = np.concatenate([np.full(len(i.boxes), _input_scale(i, shape)) for i in images])
    moved = keypoint_distances(got[both], expected[both]) * scale[both, None]
    pixels = pixel_distances(moved)
    similarity = keypoint_similarity(got[both], expected[both], sizes[both].prod(-1))
    record = AccuracyRecord(
        figures=len(truth), shift_mean_px=float(moved.mean()), shift_p99_px=pixels.p99,
        shift_max_px=pixels.max, oks=float(similarity.mean()), pck=pck, pck_reference=own,
        points_lost=100 * (own - pck), figures_lost=int((known & ~seen).sum()),
        figures_won=int((seen & ~known).sum()),
    )  # fmt: skip
    failures = shift_failures(record, limit)
    return Verdict(failures, accuracy=record, keypoint_error_px=as_record(pixels))


def of_figures(image: LabeledImage, people: People) -> NDArray[np.float64]:
    """Keypoints `[P, K, 2]`, image px, of the person that stands for each figure; NaN for none.

    The person with the best score chooses first, the figure that it is most similar to.
    """
    truth = image.keypoints[..., :2]
    areas = (image.boxes[:, 2:] - image.boxes[:, :2]).prod(axis=1)
    chosen = np.full(truth.shape, np.nan)
    for index in np.argsort(-people.scores, kind="stable"):
        points = people.keypoints[index, :, :2]
        if not np.isfinite(points).all():
            continue
        alike = keypoint_similarity(np.broadcast_to(points, truth.shape), truth, areas)
        alike[np.isfinite(chosen).all(axis=(1, 2))] = 0.0
        if alike.size and alike.max() >= _LEAST_OKS:
            chosen[int(alike.argmax())] = points
    return chosen


def _input_scale(image: LabeledImage, shape: tuple[int, int]) -> float:
    height, width = image.pixels().shape[:2]
    scale: float = min(shape[0] / height, shape[1] / width)
    return scale
