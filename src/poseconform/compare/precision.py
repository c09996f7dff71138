"""Verdicts below float32: quantised layers, and keypoints on labelled figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import pixel_distances
from poseconform.compare.tensors import Verdict, as_record
from poseconform.compare.tolerances import AccuracyLimit, LayerLimit
from poseconform.datasets.accuracy import AccuracyReference, complaints, measure
from poseconform.evaluators.quantized.noise import Quantised
from poseconform.judge.runs import Execution
from poseconform.results.outcome import AccuracyRecord, LayersRecord

_NAMED = 3  # layers named in a complaint; the rest is counted
_STEPS, _VALUES = 256, 4096  # of eight bits; numbers without which few values are no surprise


def judge_layers(found: Quantised, limit: LayerLimit) -> Verdict:
    """Enough layers are quantised, and none adds more noise than allowed."""
    noise = np.asarray([layer.sqnr_db for layer in found.layers])
    quantised, least = len(noise), limit.least_quantised * found.multiplying
    said = []
    if quantised < max(1.0, least):
        said.append(
            f"{quantised} of {found.multiplying} layers that sum products compute in int8; "
            f"expected at least {limit.least_quantised:.0%}"
        )
    if quantised and not np.median(noise) >= limit.median_db:
        said.append(
            f"half of the {quantised} quantised layers have less than {np.median(noise):.1f} dB "
            f"over their noise on their own float32 input; allowed {limit.median_db:g} dB"
        )
    loud = [layer for layer in found.layers if not layer.sqnr_db >= limit.min_db]
    if loud:
        names = ", ".join(f"{la.name} ({la.operator}) {la.sqnr_db:.1f} dB" for la in loud[:_NAMED])
        said.append(
            f"{len(loud)} of {quantised} quantised layers have less than {limit.min_db:g} dB over "
            f"their noise on their own float32 input: {names}"
        )
    record = LayersRecord(quantised, found.multiplying, allowed_db=limit.min_db)
    if quantised:
        record = LayersRecord(
            quantised, found.multiplying, float(noise.min()), float(np.median(noise)),
            found.layers[0].name, limit.min_db,
        )  # fmt: skip
    return Verdict(complaints=tuple(said), layers=record)


def judge_steps(execution: Execution) -> tuple[str, ...]:
    """A sentence for each output that is itself in eight bits.

    The last layers must stay in float32: a peak is told from its neighbours by less than a 256th
    of the range.  An output that went through int8 takes at most 256 values, whoever computes it.
    """
    said = []
    for info in execution.loaded.outputs:
        values = execution.graph_rows(info.name)[0]
        steps = len(np.unique(values))
        if steps <= _STEPS and np.count_nonzero(values) >= _VALUES:
            said.append(
                f"{info.name} takes {steps} values in {values.size} places: it is quantised "
                "itself, and the last layers must stay in float32"
            )
    return tuple(said)


def judge_accuracy(
    keypoints: NDArray[np.float64], reference: AccuracyReference, limit: AccuracyLimit
) -> Verdict:
    """Keypoints stay where PyTorch finds them; refuses where PyTorch finds none."""
    if not np.isfinite(keypoints).all():
        bad = int((~np.isfinite(keypoints)).sum())
        return Verdict(complaints=(f"{bad} keypoint coordinates on figures are not finite",))
    record, moved = measure(keypoints, reference)
    if record.code:
        return refusal(record)
    pixels = as_record(pixel_distances(moved))
    return Verdict(complaints=complaints(record, limit), pixels=pixels, accuracy=record)


def refusal(record: AccuracyRecord) -> Verdict:
    """No verdict: the record says why, and the test is skipped with its code."""
    return Verdict(accuracy=record)
