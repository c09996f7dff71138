"""Detections against the reference: matched first, then compared; near ties may go either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.declaration import Verdict
from poseconform.checks.tensors import as_record, exceeded, of_outputs, output_record
from poseconform.compare.metrics import (
    Detections,
    keypoint_distances,
    match_detections,
    other_classes,
    pixel_distances,
    tensor_error,
)
from poseconform.compare.tolerances import NEAR_TIES, NearTie, Tolerance
from poseconform.judge.runs import Execution
from poseconform.reference.values import DETECTION_OUTPUTS, DetectionTruth, Reference, by_output


@dataclass(frozen=True)
class Matched:
    """Detections of one image that were matched with the reference's, and the rest, counted."""

    got: Detections
    expected: Detections  # counterparts, in the same order
    missing: int  # stable detections of the reference without a counterpart
    extra: int  # detections that no decision within the margins would give
    benign: int  # near ties that went the other way
    ties: NDArray[np.bool_] | None = None  # [D, K] keypoints of `expected` that are near ties


def as_detections(dets: NDArray[np.floating], keypoints: NDArray[np.floating]) -> Detections:
    """Rows of `dets` `[M, 5]` and `keypoints` `[M, K, 3]`, input px, that are not padding.

    A sixth column of `dets` is the class.
    """
    real = dets[:, 4] != 0  # padding has a score of exactly 0
    d, k = dets[real].astype(np.float64), keypoints[real].astype(np.float64)
    column = d[:, 5] if d.shape[1] > 5 else np.zeros(len(d))
    whole = np.isfinite(column) & (column == np.round(column))
    labels = np.where(whole, column, -1).astype(np.int64)  # -1 is no class
    return Detections(d[:, :4], d[:, 4], k[..., :2], k[..., 2], labels)


def judge_rows(execution: Execution) -> Verdict:
    """Padding is exactly zero and comes last, scores descend."""
    dets, samples = execution.rows("dets")
    keypoints, _ = execution.rows("keypoints")
    failures = []
    for row, points, sample in zip(dets, keypoints, samples, strict=True):
        padding = row[:, 4] == 0
        if (np.diff(row[:, 4]) > 0).any():
            failures.append(f"image {sample}: scores do not descend")
        if np.any(row[padding] != 0) or np.any(points[padding] != 0):
            failures.append(f"image {sample}: a padding row is not zero")
    return Verdict(tuple(failures))


def cut(truth: DetectionTruth, rows: int, ties: NearTie) -> tuple[Detections, NDArray[np.bool_]]:
    """Detections that are possible in so many rows, and which of them are stable.

    Near the last row a detection is no longer stable: each near tie above can push it out.
    """
    base = np.flatnonzero(truth.base)
    if len(base) <= rows:
        return truth.possible, truth.stable
    scores = truth.possible.scores
    unstable = int((~truth.stable).sum())
    first, last = max(0, rows - 1 - unstable), min(len(base) - 1, rows + unstable)
    sure, possible = scores[base[first]] + ties.score, scores[base[last]] - ties.score
    fits = scores >= possible
    return truth.possible.select(fits), (truth.stable & (scores > sure))[fits]


def match_image(got: Detections, truth: DetectionTruth, rows: int, ties: NearTie) -> Matched:
    """Match one image's detections, in so many rows, with the possible ones of the reference."""
    possible, stable = cut(truth, rows, ties)
    matched, counterparts = match_detections(got, possible, ties.match_px)
    absent = ~np.isin(np.arange(len(possible)), counterparts)
    known = truth.keypoint_ties is not None and len(possible) == len(truth.possible)
    return Matched(
        got=got.select(matched),
        expected=possible.select(counterparts),
        missing=int((stable & absent).sum()),
        extra=len(got) - len(matched),
        benign=int((~stable & absent).sum()),
        ties=truth.keypoint_ties[counterparts]
        if known and truth.keypoint_ties is not None
        else None,
    )


def match_all(
    execution: Execution, reference: Reference, precision: str,
    mend: Callable[[Detections], Detections] = lambda people: people,
) -> list[Matched]:  # fmt: skip
    """Every image of every batch, what was detected in it `mend`ed first."""
    dets, samples = execution.rows("dets")
    keypoints, _ = execution.rows("keypoints")
    return [
        match_image(
            mend(as_detections(d, k)), reference.detections[s], dets.shape[1], NEAR_TIES[precision]
        )
        for d, k, s in zip(dets, keypoints, samples, strict=True)
    ]


def own_unmatched(execution: Execution, reference: Reference, precision: str) -> float:
    """Part of PyTorch's own detections at this precision that match none in float64, or lack.

    They are cut to as many rows as a graph's, and counted for each image once; of several runs
    the worst. 0.0 where nothing is known of them.
    """
    rows, worst = execution.rows("dets")[0].shape[1], 0.0
    for people in zip(*(truth.own for truth in reference.detections), strict=True):
        matched = [
            match_image(d.select(np.argsort(-d.scores)[:rows]), truth, rows, NEAR_TIES[precision])
            for d, truth in zip(people, reference.detections, strict=True)
        ]
        lost = sum(m.missing + m.extra for m in matched)
        worst = max(worst, lost / max(1, lost + sum(len(m.got) for m in matched)))
    return worst


def why_not(
    execution: Execution, reference: Reference, row: Tolerance, score_thr: float
) -> list[str]:
    """What mmpose does and the graph does not, where that is known, and what is left without it.

    mmpose drops people that score less than the model's `score_thr`, and for heads whose
    reference shows it, clips boxes to the input.
    """
    least, bounds = score_thr - NEAR_TIES[row.precision].score, reference.inputs.shape[:1:-1] * 2
    dets, _ = execution.rows("dets")
    people = dets[dets[..., 4] != 0].astype(np.float64)
    low = people[people[:, 4] < least]
    kept = people[~(people[:, 4] < least)]
    slack = reference.allowed("dets.boxes", row).max
    beyond = _beyond(kept[:, :4], bounds)
    clips = all((_beyond(t.possible.boxes, bounds) <= slack).all() for t in reference.detections)
    outside = (beyond > slack) & clips
    causes = []
    if len(low):
        causes.append(
            f"rows below score_thr: {len(low)} of {len(people)} score less than the model's "
            f"{score_thr:g}, the best of them {low[:, 4].max():.4g}; mmpose drops them, and "
            "padding is rows of zeros"
        )
    if outside.any():
        width, height = bounds[:2]
        causes.append(
            f"boxes not clipped to the input: {int(outside.sum())} of {len(kept)} reach outside "
            f"{width}x{height} px, by up to {beyond.max():.3g} px; mmpose clips them"
        )
    if not causes:
        return []

    def mend(got: Detections) -> Detections:
        rest = got.select(~(got.scores < least))
        return replace(rest, boxes=np.clip(rest.boxes, 0.0, bounds)) if clips else rest

    mended = match_all(execution, reference, row.precision, mend)
    missing, extra = sum(m.missing for m in mended), sum(m.extra for m in mended)
    both = "these" if len(causes) > 1 else "this"
    return [
        *causes,
        f"with {both} mended, {missing} would be missing and {extra} would not be the reference's",
    ]


def _beyond(boxes: NDArray[np.floating], bounds: tuple[int, ...]) -> NDArray[np.floating]:
    """How far boxes `[D, 4]` reach outside of bounds `(W, H, W, H)`, px; 0.0 for those inside."""
    beyond: NDArray[np.floating] = np.maximum(-boxes, boxes - bounds).max(axis=-1, initial=0.0)
    return beyond


def judge_detections(
    execution: Execution, reference: Reference, row: Tolerance, score_thr: float = 0.0
) -> Verdict:
    """Sets of detections and the numbers of those that match, against float64.

    `score_thr` is the model's own, 0.0 for none; it names the cause of a failure and decides none.
    """
    verdict = _compared(execution, reference, row)
    if not verdict.failures:
        return verdict
    first, *others = verdict.failures
    causes = why_not(execution, reference, row, score_thr)
    return replace(verdict, failures=(first, *causes, *others))


def _compared(execution: Execution, reference: Reference, row: Tolerance) -> Verdict:
    matched = match_all(execution, reference, row.precision)
    missing, extra = sum(m.missing for m in matched), sum(m.extra for m in matched)
    if reference.outputs:  # of maps: a tie of several keypoints has more ends than were tried
        extra = sum(max(0, m.extra - m.benign) for m in matched)
    records, failures = [], []
    total = sum(len(m.got) for m in matched)
    unmatched = missing + extra
    lost = own_unmatched(execution, reference, row.precision) if unmatched else 0.0
    if unmatched > lost * (total + unmatched):
        failures.append(
            f"detections: {missing} of the reference's are missing and {extra} are not the "
            f"reference's (near ties not counted; {total} match)"
            + (f"; {lost:.1%} of PyTorch's own in {row.precision} do not match" if lost else "")
        )
    if not any(len(m.got) for m in matched):
        failures.append("detections: none matches, so nothing can be compared")
        return Verdict(tuple(failures) if row.gate_tensors else ())
    others = [other_classes(m.got, m.expected) for m in matched]
    wrong, tied = (sum(int(masks[i].sum()) for masks in others) for i in (0, 1))
    if wrong:
        failures.append(
            f"labels: {wrong} of {sum(len(m.got) for m in matched)} detections have another class "
            "than the reference's (near ties not counted)"
        )
    # numbers that follow from maps are as exact as the maps, which are judged themselves
    gate = row.gate_tensors and not reference.outputs
    for name in DETECTION_OUTPUTS:
        got = np.concatenate([by_output(m.got)[name] for m in matched])
        expected = np.concatenate([by_output(m.expected)[name] for m in matched])
        error, allowed = tensor_error(got, expected), reference.allowed(name, row)
        own = reference.ref_errors[name]
        records.append(output_record(name, got, error, own, allowed if gate else None))
        failures += exceeded(name, error, allowed, own) if gate or not reference.outputs else []
    verdict = of_outputs(records, failures if row.gate_tensors else ())
    return replace(verdict, benign_flips=sum(m.benign for m in matched) + tied)


def judge_detection_overlap(execution: Execution, reference: Reference, row: Tolerance) -> Verdict:
    """An image's detections must not depend on the batch it is in; near ties may go either way.

    Sets are compared: on a GPU, scores that are nearly equal change rank with the batch's size.
    """
    dets, samples = execution.rows("dets")
    keypoints, _ = execution.rows("keypoints")
    people = [as_detections(d, k) for d, k in zip(dets, keypoints, strict=True)]
    limits = {name: 2 * reference.allowed(name, row).max for name in DETECTION_OUTPUTS}
    ties, failures = NEAR_TIES[row.precision], []
    for sample in np.unique(samples):
        first, *others = np.flatnonzero(samples == sample)
        truth = cut(reference.detections[sample], dets.shape[1], ties)
        for other in others:
            faults = _set_differences(people[first], people[other], truth, limits, ties)
            failures += [f"image {sample}: {fault} between batches" for fault in faults]
    return Verdict(tuple(failures))


def _set_differences(
    one: Detections,
    other: Detections,
    truth: tuple[Detections, NDArray[np.bool_]],
    limits: Mapping[str, float],
    ties: NearTie,
) -> Iterator[str]:
    """How two sets of detections of one image differ, apart from near ties of the reference."""
    left, right = match_detections(one, other, ties.match_px)
    got, expected = one.select(left), other.select(right)
    tied = _near_ties(got, *truth, ties) & _near_ties(expected, *truth, ties)
    for name, limit in limits.items():
        distance = np.abs(by_output(got)[name] - by_output(expected)[name])
        worst = distance.max(axis=tuple(range(1, distance.ndim)), initial=0.0)[~tied]
        if not (worst <= limit).all():
            yield f"{name} differs by {worst.max():.3g}, allowed {limit:.3g},"
    if (wrong := other_classes(got, expected)[0] & ~tied).any():
        yield f"{int(wrong.sum())} detections differ in their class"
    alone = sum(
        int((~_near_ties(people.select(rest), *truth, ties)).sum())
        for people, matched in ((one, left), (other, right))
        if (rest := ~np.isin(np.arange(len(people)), matched)).any()
    )
    if alone:
        yield f"{alone} of {len(one)} and {len(other)} detections differ"


def _near_ties(
    people: Detections, possible: Detections, stable: NDArray[np.bool_], ties: NearTie
) -> NDArray[np.bool_]:
    """`[D]` True for those that a decision within the margins may give, and may not give."""
    matched, counterparts = match_detections(people, possible, ties.match_px)
    near = np.zeros(len(people), bool)
    near[matched] = ~stable[counterparts]
    if possible.class_ties is not None:
        near[matched] |= possible.class_ties[counterparts]
    return near


def judge_detected_keypoints(
    execution: Execution, reference: Reference, row: Tolerance
) -> Verdict:
    """Keypoints of matched detections, in px of the input."""
    matched = match_all(execution, reference, row.precision)
    parts = [_sure_distances(m) for m in matched]
    worst = pixel_distances(np.concatenate(parts))
    failure = ""
    if row.gate_tensors and not any(part.size for part in parts):
        failure = "no detection matches, so no keypoint can be compared"
        if people := sum(len(m.got) for m in matched):
            failure = (
                f"an allowed error moves every keypoint of the {people} matched detections by "
                f"more than {row.keypoint_px} px, so that none can be compared"
            )
    elif row.gate_keypoints and not worst.max <= row.keypoint_px:
        failure = (
            f"a keypoint of a matched detection is {worst.max:.3g} px off; "
            f"allowed {row.keypoint_px} px"
        )
    benign = sum(m.benign for m in matched)
    failures = (failure,) if failure else ()
    return Verdict(failures, keypoint_error_px=as_record(worst), benign_flips=benign)


def _sure_distances(matched: Matched) -> NDArray[np.floating]:
    """Distances `[n]` of keypoints that are no near ties, and of those that are not finite."""
    distances = keypoint_distances(matched.got.keypoints, matched.expected.keypoints)
    if matched.ties is None:
        return distances.ravel()
    return distances[~matched.ties | ~np.isfinite(distances)]
