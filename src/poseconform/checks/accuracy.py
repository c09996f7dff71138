"""Accuracy on labeled images, against the same weights in PyTorch float32.

`accuracy` compares single keypoints on drawn figures, from the backend's own outputs: below
float32 a tensor that is close proves little about its keypoints. Each family has measured limits,
and in 16 bits the rule of `convert` holds too, by what PyTorch's own rounding does. `dataset`
compares AP, AR and PCK over the whole way from image to keypoint, through the client. AP and PCK
are blunt (a shift of a pixel changes neither), but they are what people publish. Both raise
`LookupError` for a flow that has no measured limit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.declaration import Verdict, check
from poseconform.checks.tensors import as_record
from poseconform.compare.metrics import (
    keypoint_distances,
    keypoint_similarity,
    pixel_distances,
    within_reach,
)
from poseconform.compare.tolerances import (
    LEAST_AP,
    LEAST_PCK,
    AccuracyLimit,
    ShiftLimit,
    accuracy_limit_for,
)
from poseconform.datasets.scoring import Score
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import (
    FIGURES,
    client_score,
    figure_keypoints,
    figure_reference,
    figure_rounding,
    pytorch_score,
)
from poseconform.matrix.cells import Cell, Model
from poseconform.matrix.weights import FIGURE_PRECISIONS
from poseconform.reference.values import FigureReference, FigureRounding
from poseconform.results.records import AccuracyRecord, DatasetRecord
from posedeploy.runtime.shifts import judge_shift


def _compares_figures(cell: Cell, _device: str) -> bool:
    """Below float32; the people that a bottom-up model finds are not matched with the figures."""
    return cell.flow.precision in FIGURE_PRECISIONS and not cell.model.bottom_up


@check(stage="keypoints", suite="parity", applies=_compares_figures)
def accuracy(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints on labeled figures stay where PyTorch finds them."""
    judge.conversion(cell)  # first: if it fails, its failure is the one to report
    if not judge.figures(FIGURES):
        return _refusal("no-figures", "this run has no labeled figures")
    limit = limit_of(cell)
    if limit.shift is None:
        raise LookupError(f"no limit for keypoints of {cell.model.family} {cell.flow.precision}")
    reference = figure_reference(judge, cell.model)
    if refused := other_joints(reference):
        return refused
    keypoints = figure_keypoints(judge, cell)
    verdict = judge_figures(keypoints, reference, limit.shift)
    rounding = figure_rounding(judge, cell.model, cell.flow.precision)
    if verdict.refusal or rounding is None:
        return verdict
    failures = rounding_failures(cell.flow.precision, keypoints, reference, rounding)
    return replace(verdict, failures=(*verdict.failures, *failures))


def limit_of(cell: Cell) -> AccuracyLimit:
    """The limit for a cell; LookupError if none was measured for its flow."""
    flow = cell.flow
    return accuracy_limit_for(cell.model.family, flow.precision, flow.backend)


def other_joints(reference: FigureReference) -> Verdict | None:
    """A refusal for a model of other keypoints than those of the figures, such as a hand's."""
    keypoints, joints = reference.keypoints.shape[1], reference.truth.shape[1]
    if keypoints == joints:
        return None
    reason = f"the model has {keypoints} keypoints, and the figures {joints} joints of COCO"
    return _refusal("other-joints", reason)


def judge_figures(
    keypoints: NDArray[np.float64], reference: FigureReference, limit: ShiftLimit
) -> Verdict:
    """Compare a flow's keypoints `[S, K, 2]` (input px) with PyTorch's, of the same weights.

    There is no verdict where PyTorch itself finds too few joints.
    """
    if not np.isfinite(keypoints).all():
        bad = int((~np.isfinite(keypoints)).sum())
        return Verdict((f"{bad} keypoint coordinates on figures are not finite",))
    if reference.pck < LEAST_PCK:
        return too_few_joints(reference.pck)
    moved = keypoint_distances(keypoints, reference.keypoints)
    pixels = pixel_distances(moved)
    similarity = keypoint_similarity(keypoints, reference.keypoints, reference.sizes.prod(-1))
    pck = within_reach(keypoints, reference.truth, reference.sizes)
    record = AccuracyRecord(
        figures=len(keypoints), shift_mean_px=float(moved.mean()), shift_p99_px=pixels.p99,
        shift_max_px=pixels.max, oks=float(similarity.mean()), pck=pck,
        pck_reference=reference.pck, points_lost=100 * (reference.pck - pck),
    )  # fmt: skip
    failures = shift_failures(record, limit)
    return Verdict(failures, accuracy=record, keypoint_error_px=as_record(pixels))


def rounding_failures(
    precision: str,
    keypoints: NDArray[np.float64],
    reference: FigureReference,
    rounding: FigureRounding,
) -> tuple[str, ...]:
    """A failure where keypoints moved too far beside PyTorch's own: the rule of `convert`."""
    count = len(rounding.keypoints)
    expected = reference.keypoints[:count]
    moved, own = (keypoint_distances(k[:count], expected) for k in (keypoints, rounding.keypoints))
    shift = judge_shift(precision, moved, own, lambda: rounding.reach)
    return () if shift.within else (f"keypoints on {count} figures: {shift}",)


def shift_failures(record: AccuracyRecord, limit: ShiftLimit) -> tuple[str, ...]:
    """A failure for each limit that is exceeded; NaN exceeds every limit."""
    assert record.oks is not None  # noqa: S101 - a record that refuses is never judged
    measured = (
        ("mean shift of the keypoints", record.shift_mean_px, limit.mean_px, "px"),
        ("99th percentile of their shift", record.shift_p99_px, limit.p99_px, "px"),
        ("1 - OKS with PyTorch", 1 - record.oks, 1 - limit.oks, ""),
        ("change of PCK", abs(record.points_lost or 0.0), limit.points, "points"),
    )
    return tuple(
        f"{what} on {record.figures} figures: {value:.3g} {unit}".rstrip()
        + f"; allowed {allowed:.3g}"
        for what, value, allowed, unit in measured
        if value is None or not value <= allowed
    )


def too_few_joints(pck: float) -> Verdict:
    """The verdict where PyTorch itself finds less than `LEAST_PCK` of the joints."""
    reason = (
        f"PyTorch itself finds {pck:.1%} of the joints; a model that has something to lose finds "
        f"{LEAST_PCK:.0%}"
    )
    return _refusal("fp32-accuracy-too-low", reason, pck)


def _refusal(code: str, reason: str, pck: float | None = None) -> Verdict:
    record = AccuracyRecord(code=code, reason=reason, pck_reference=pck)
    return Verdict(refusal=f"{code}: {reason}", accuracy=record)


# Through the client; expectations that are declared of a flow's keypoints hold here too.
@check(stage="keypoints", suite="accuracy")
def dataset(judge: Judge, cell: Cell) -> Verdict:
    """AP, AR and PCK on a labeled data set differ from PyTorch's by little, to either side."""
    data = judge.dataset(cell.model.bottom_up)
    reference = pytorch_score(judge, cell.model, data)
    if refused := dataset_refusal(cell.model, reference):  # before minutes of conversion
        return Verdict(refusal=refused)
    limit = limit_of(cell)
    deployed = client_score(judge, cell, data)
    record = DatasetRecord(
        data.name, len(data.images), deployed.ap, reference.ap, deployed.ar, reference.ar,
        deployed.pck, reference.pck,
    )  # fmt: skip
    return Verdict(score_failures(deployed, reference, limit), dataset=record)


def dataset_refusal(model: Model, reference: Score) -> str:
    """Why the accuracy of this model proves nothing, as `<code>: <reason>`; '' where it does."""
    if reference.ap >= LEAST_AP:
        return ""
    return (
        f"fp32-accuracy-too-low: PyTorch itself has AP {reference.ap:.3f} with {model.weights} "
        f"weights; at least {LEAST_AP} is needed for a loss to be seen"
    )


def score_failures(deployed: Score, reference: Score, limit: AccuracyLimit) -> tuple[str, ...]:
    """A failure for each measure that differs by more than the limit, to either side."""
    pairs = (
        ("AP", deployed.ap, reference.ap), ("AR", deployed.ar, reference.ar),
        ("PCK@.05", deployed.pck, reference.pck),
    )  # fmt: skip
    return tuple(
        f"{name} {100 * ours:.2f}, PyTorch {100 * theirs:.2f}: {100 * (ours - theirs):+.2f} "
        f"points; allowed {limit.points} to either side"
        for name, ours, theirs in pairs
        if not abs(100 * (ours - theirs)) <= limit.points
    )
