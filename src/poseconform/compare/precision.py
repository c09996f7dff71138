"""Verdicts below float32: quantized layers, and keypoints on labeled figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import pixel_distances
from poseconform.compare.tensors import Verdict, as_record
from poseconform.compare.tolerances import AccuracyLimit, LayerLimit
from poseconform.datasets.accuracy import AccuracyReference, failures, measure
from poseconform.evaluators.quantized.noise import Quantized
from poseconform.judge.runs import Execution
from poseconform.results.records import AccuracyRecord, LayersRecord

_NAMED = 3  # layers named in a failure; the rest is counted
_STEPS, _VALUES = 256, 4096  # of eight bits; numbers without which few values are no surprise


def judge_layers(found: Quantized, limit: LayerLimit) -> Verdict:
    """Enough layers are quantized, and none adds more noise than allowed."""
    noise = np.asarray([layer.sqnr_db for layer in found.layers])
    quantized, least = len(noise), limit.least_quantized * found.multiplying
    said = []
    if quantized < max(1.0, least):
        said.append(
            f"{quantized} of {found.multiplying} layers that sum products compute in int8; "
            f"expected at least {limit.least_quantized:.0%}"
        )
    if quantized and not np.median(noise) >= limit.median_db:
        said.append(
            f"half of the {quantized} quantized layers have less than {np.median(noise):.1f} dB "
            f"over their noise on their own float32 input; allowed {limit.median_db:g} dB"
        )
    loud = [layer for layer in found.layers if not layer.sqnr_db >= limit.min_db]
    if loud:
        names = ", ".join(f"{la.name} ({la.operator}) {la.sqnr_db:.1f} dB" for la in loud[:_NAMED])
        said.append(
            f"{len(loud)} of {quantized} quantized layers have less than {limit.min_db:g} dB over "
            f"their noise on their own float32 input: {names}"
        )
    record = LayersRecord(quantized, found.multiplying, allowed_db=limit.min_db)
    if quantized:
        record = LayersRecord(
            quantized, found.multiplying, float(noise.min()), float(np.median(noise)),
            found.layers[0].name, limit.min_db,
        )  # fmt: skip
    return Verdict(failures=tuple(said), layers=record)


def judge_steps(execution: Execution) -> tuple[str, ...]:
    """A sentence for each output that is itself in eight bits.

    The last layers must stay in float32: a peak is told from its neighbors by less than a 256th
    of the range.  An output that went through int8 takes at most 256 values, whoever computes it.
    """
    said = []
    for info in execution.loaded.outputs:
        values = execution.graph_rows(info.name)[0]
        steps = len(np.unique(values))
        if steps <= _STEPS and np.count_nonzero(values) >= _VALUES:
            said.append(
                f"{info.name} takes {steps} values in {values.size} places: it is quantized "
                "itself, and the last layers must stay in float32"
            )
    return tuple(said)


def judge_accuracy(
    keypoints: NDArray[np.float64], reference: AccuracyReference, limit: AccuracyLimit
) -> Verdict:
    """Keypoints stay where PyTorch finds them; refuses where PyTorch finds none."""
    if not np.isfinite(keypoints).all():
        bad = int((~np.isfinite(keypoints)).sum())
        return Verdict(failures=(f"{bad} keypoint coordinates on figures are not finite",))
    record, moved = measure(keypoints, reference)
    if record.code:
        return refusal(record)
    pixels = as_record(pixel_distances(moved))
    return Verdict(failures=failures(record, limit), pixels=pixels, accuracy=record)


def refusal(record: AccuracyRecord) -> Verdict:
    """No verdict: the record says why, and the test is skipped with its code."""
    return Verdict(accuracy=record)
