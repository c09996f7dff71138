"""Tensors and keypoints of top-down models against the reference: records and failures.

Every function returns its measurements on a pass as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.declaration import Verdict
from poseconform.compare.metrics import (
    HISTOGRAM_EDGES,
    PixelDistances,
    TensorError,
    keypoint_distances,
    pixel_distances,
    tensor_error,
)
from poseconform.compare.tolerances import Allowed, Tolerance, headroom
from poseconform.judge.runs import Execution
from poseconform.reference.values import Reference, RefError
from poseconform.results.records import HistogramRecord, OutputRecord, PixelError
from posedeploy.runtime.responses import response_fault


def judge_finite(execution: Execution, peaks: bool) -> Verdict:
    """Finite, not constant, and different for different images."""
    failures = []
    for info in execution.loaded.outputs:
        rows, samples = execution.graph_rows(info.name)
        if fault := response_fault(rows, samples, peaks=peaks and rows.ndim > 2):
            failures.append(f"{info.name}: {fault}")
    return Verdict(tuple(failures))


def judge_tensors(execution: Execution, reference: Reference, row: Tolerance) -> Verdict:
    """Raw outputs of a top-down model against float64, images pooled."""
    records, failures = [], []
    names = {info.name for info in execution.loaded.outputs}
    for name, truth in reference.outputs.items():
        if name not in names:
            failures.append(f"output {name} is missing; the graph has {sorted(names)}")
            continue
        got, samples = execution.rows(name)
        if got.shape[1:] != truth.shape[1:]:
            failures.append(
                f"{name}: shape {list(got.shape[1:])} per image; expected {list(truth.shape[1:])}"
            )
            continue
        error, allowed = tensor_error(got, truth[samples]), reference.allowed(name, row)
        own = reference.ref_errors[name]
        records.append(output_record(name, got, error, own, allowed if row.gate_tensors else None))
        failures += exceeded(name, error, allowed, own) if row.gate_tensors else []
    return of_outputs(records, failures)


def of_outputs(records: Sequence[OutputRecord], failures: Sequence[str]) -> Verdict:
    """The verdict on outputs; its headroom is that of the worst one."""
    headrooms = [record.headroom for record in records if record.headroom is not None]
    return Verdict(tuple(failures), outputs=tuple(records), headroom=max(headrooms, default=None))


def combined(tensors: Verdict, people: Verdict) -> Verdict:
    """The verdict on maps and on the people in them."""
    records = (*tensors.outputs, *people.outputs)
    verdict = of_outputs(records, (*tensors.failures, *people.failures))
    return replace(verdict, benign_flips=people.benign_flips)


def output_record(
    name: str,
    got: NDArray[np.floating],
    error: TensorError,
    own: RefError,
    allowed: Allowed | None,
) -> OutputRecord:
    """The record of one output; without a limit it has no headroom."""
    pairs = ((error.max, own.max), (error.rms, own.rms))
    return OutputRecord(
        name=name, shape=tuple(got.shape), dtype=str(got.dtype),
        max_abs=error.max, rms=error.rms,
        allowed_max=allowed.max if allowed else None, allowed_rms=allowed.rms if allowed else None,
        ref32_max=own.max, ref32_rms=own.rms,
        ratio=max((ours / pytorch for ours, pytorch in pairs if pytorch > 0), default=None),
        headroom=headroom(error.max, error.rms, allowed) if allowed else None,
        cosine=error.cosine, sqnr_db=error.sqnr_db,
        histogram=HistogramRecord(HISTOGRAM_EDGES, error.histogram),
    )  # fmt: skip


def exceeded(name: str, error: TensorError, allowed: Allowed, own: RefError) -> list[str]:
    """A failure for each limit that is exceeded; NaN exceeds every limit."""
    pairs = (
        ("maximum", error.max, allowed.max, own.max),
        ("RMS", error.rms, allowed.rms, own.rms),
    )
    return [
        f"{name}: {kind} error {value:.3g} exceeds the allowed {limit:.3g} "
        f"(PyTorch's own error is {pytorch:.3g})"
        for kind, value, limit, pytorch in pairs
        if not value <= limit
    ]


def judge_keypoints(
    decoded: NDArray[np.float64], samples: NDArray[np.intp], reference: Reference, row: Tolerance
) -> Verdict:
    """Decoded keypoints `[R, K, 2]` (input px) of samples `[R]` against the reference's.

    Near ties may flip, and where a refinement is ill-conditioned a keypoint may move as far as
    the allowed error can move it. Nothing else may.
    """
    distances = keypoint_distances(decoded, reference.keypoints[samples])
    moved = ~(distances <= row.keypoint_px)
    reach = row.keypoint_px + reference.reach(row)[samples]
    ties = np.isfinite(distances) & moved & (distances <= reach)
    worst = pixel_distances(np.where(ties, 0.0, distances))
    failures = []
    if not np.isfinite(distances).all():
        failures.append(f"{int((~np.isfinite(distances)).sum())} keypoints are not finite")
    if row.gate_keypoints and (moved & ~ties).any():
        where = np.argwhere(moved & ~ties)
        r, k = where[0]
        failures.append(
            f"{len(where)} of {distances.size} keypoints moved by more than {row.keypoint_px} px "
            f"where the reference is no near tie; the first: image {samples[r]}, keypoint {k}, "
            f"{distances[r, k]:.2f} px"
        )
    return Verdict(
        tuple(failures),
        # where figures are judged instead, distances on images without clear peaks mislead
        keypoint_error_px=as_record(worst) if row.gate_keypoints else None,
        benign_flips=int((moved & ties).sum()),
    )


def judge_overlap(execution: Execution, reference: Reference, row: Tolerance) -> Verdict:
    """What a graph outputs for an image, but for detections, must not depend on its batch."""
    failures = []
    graph = execution.batches[0].outputs
    for name in (name for name in reference.outputs if name in graph):
        rows, samples = execution.rows(name)
        limit = 2 * reference.allowed(name, row).max
        for sample in np.unique(samples):
            same = rows[samples == sample]
            difference = float(np.abs(same - same[:1]).max())
            if not difference <= limit:
                failures.append(
                    f"{name}: image {sample} differs by {difference:.3g} between batches; "
                    f"allowed {limit:.3g}"
                )
    return Verdict(tuple(failures))


def as_record(pixels: PixelDistances) -> PixelError:
    """Percentiles as a record."""
    return PixelError(pixels.p50, pixels.p99, pixels.max)
