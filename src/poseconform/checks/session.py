"""The backend loads the files, runs them, and reports the options that were asked for."""

from __future__ import annotations

import numpy as np

from poseconform.checks.conversion import onnx_file, size_operators
from poseconform.checks.declaration import Verdict, check, differences
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.results.records import LatencyRecord, StageRecord

# These report the precision that they were asked for: a comparison with it cannot fail.
_REPORT_NO_PRECISION = frozenset({"litert", "mnn", "onnxruntime", "torchscript"})


@check(stage="run", suite="parity")
def runs(judge: Judge, cell: Cell) -> Verdict:
    """The backend loads the files and gives outputs for every batch."""
    execution = judge.execution(cell)
    empty = [batch.samples for batch in execution.batches if not batch.outputs]
    single = [1000 * seconds for seconds in execution.timed]
    low, median, high = np.percentile(single, [25, 50, 75]).tolist()
    return Verdict(
        differences([("batches without outputs", empty, [])]),
        stages=(StageRecord("load", execution.loaded.seconds),),
        effective_options=dict(execution.loaded.effective_options),
        latency_ms=LatencyRecord(median, high - low, len(single)),
        batches=tuple(sorted({len(b.samples) for b in execution.batches})),
    )


# Precision of a flow -> backends' words for computing in it. At the others the precision in force
# differs from flow to flow, and the numbers are judged.
_IN_FORCE = {"bf16": ("bf16",), "fp32": ("fp32", "f32", "float32")}


def _reports_precision(cell: Cell, _device: str) -> bool:
    return cell.flow.precision in _IN_FORCE and cell.flow.backend not in _REPORT_NO_PRECISION


@check(stage="run", suite="parity", applies=_reports_precision)
def precision(judge: Judge, cell: Cell) -> Verdict:
    """A backend that is asked for float32, or for bf16, reports that it computes in it."""
    wanted = cell.flow.precision
    reported = judge.execution(cell).loaded.effective_options.get("inference_precision")
    if reported in {None, *_IN_FORCE[wanted]}:
        return Verdict()
    return Verdict(differences([("inference precision in force", reported, wanted)]))


def _reports_placement(cell: Cell, device: str) -> bool:
    """ONNX Runtime reports its nodes on the CPU: 'none', 'Shape 2, TopK 1', or 'unknown'."""
    return cell.flow.backend == "onnxruntime" and device != "cpu"


@check(stage="run", suite="parity", applies=_reports_placement)
def placement(judge: Judge, cell: Cell) -> Verdict:
    """No node fell back from the device to the CPU, except those that compute sizes.

    Nodes are compared by operator and count: optimization renames nodes, but adds none of these.
    """
    reported = judge.execution(cell).loaded.effective_options.get("nodes_on_cpu", "none")
    if reported == "none":
        return Verdict()
    if reported == "unknown":
        expected = "a list, which ONNX Runtime gives from 1.24 on"
        return Verdict(differences([("nodes on the CPU", reported, expected)]))
    of_sizes = size_operators(onnx_file(judge, cell))
    parts = (part.split() for part in reported.split(", "))
    left = [f"{kind} {count}" for kind, count in parts if int(count) > of_sizes[kind]]
    return Verdict(differences([("nodes that fell back to the CPU", left, [])]))
