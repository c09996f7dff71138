"""Graphs of top-down models that hold the decoding: their keypoints and scores, and no tensors.

The truth is what mmpose's codec decodes of the reference's outputs. A score is one of their values
and may be as far off as they may; where the maximum is a near tie, the keypoint may be at either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.declaration import Verdict
from poseconform.checks.tensors import exceeded, judge_keypoints, of_outputs, output_record
from poseconform.compare.metrics import tensor_error
from poseconform.compare.tolerances import Allowed, Tolerance
from poseconform.judge.runs import Execution
from poseconform.reference.values import Reference, RefError

Names = tuple[str, ...]  # of the keypoints and of the scores


def judge_scores(
    execution: Execution, reference: Reference, row: Tolerance, names: Names
) -> Verdict:
    """Scores `[R, K]` against float64, images pooled; keypoints for their shape alone."""
    shapes = dict(zip(names, (reference.keypoints.shape, reference.scores.shape), strict=True))
    ran = {info.name for info in execution.loaded.outputs}
    failures = [
        f"output {name} is missing; the graph has {sorted(ran)}" for name in {*names} - ran
    ]
    for name in ran & {*names}:
        got, expected = execution.rows(name)[0].shape[1:], shapes[name][1:]
        if got != expected:
            failures.append(f"{name}: shape {list(got)} per image; expected {list(expected)}")
    if failures:
        return Verdict(tuple(failures))
    scores, samples = execution.rows(names[1])
    error = tensor_error(scores, reference.scores[samples])
    allowed, own = _allowed(reference, row)
    record = output_record(names[1], scores, error, own, allowed if row.gate_tensors else None)
    failures = exceeded(names[1], error, allowed, own) if row.gate_tensors else []
    return of_outputs([record], failures)


def _allowed(reference: Reference, row: Tolerance) -> tuple[Allowed, RefError]:
    """Allowed error of a score and PyTorch's own: those of the output that has the most.

    A score is a maximum, whose error may be the maximum's everywhere: its RMS has the same limit.
    """
    name = max(reference.outputs, key=lambda name: reference.allowed(name, row).max)
    limit = reference.allowed(name, row).max
    return Allowed(limit, limit), reference.ref_errors[name]


def judge_decoded_keypoints(
    execution: Execution, reference: Reference, row: Tolerance, names: Names
) -> Verdict:
    """The graph's own keypoints, in px of the input."""
    points, samples = execution.rows(names[0])
    return judge_keypoints(points.astype(np.float64), samples, reference, row)


def judge_decoded_overlap(
    execution: Execution, reference: Reference, row: Tolerance, names: Names
) -> Verdict:
    """An image's result must not depend on the batch it is in; near ties may flip."""
    ties = reference.near_ties(row)
    limits = {names[0]: 2 * row.keypoint_px, names[1]: 2 * _allowed(reference, row)[0].max}
    failures = []
    for name, limit in limits.items():
        rows, samples = execution.rows(name)
        for sample in np.unique(samples):
            same = rows[samples == sample].astype(np.float64)
            differing = _largest(np.abs(same - same[:1]))
            if name == names[0]:
                differing = np.where(ties[sample], 0.0, differing)
            difference = float(differing.max())
            if not difference <= limit:
                failures.append(
                    f"{name}: image {sample} differs by {difference:.3g} between batches; "
                    f"allowed {limit:.3g}"
                )
    return Verdict(tuple(failures))


def _largest(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[K]` of `[B, K]` or `[B, K, 2]`."""
    largest = differences.max(axis=0)
    return np.asarray(largest.max(axis=-1) if largest.ndim > 1 else largest)
