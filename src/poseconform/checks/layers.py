"""Quantized layers of int8 files: the noise of each, and that the last ones stay in float32."""

from __future__ import annotations

import numpy as np

from poseconform.checks.declaration import Verdict, check
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import MEASURES, layer_noise
from poseconform.judge.runs import Execution
from poseconform.matrix.cells import Cell
from poseconform.results.records import LayersRecord
from posedeploy.runtime.quantized.limits import LayerLimit, layer_failures, layer_limit_for
from posedeploy.runtime.quantized.noise import Quantized

_STEPS, _VALUES = 256, 4096  # of eight bits; fewer numbers can take few values by chance


def _is_measured(cell: Cell, _device: str) -> bool:
    return cell.flow.precision == "int8" and cell.flow.backend in MEASURES


@check(stage="numeric", suite="parity", applies=_is_measured)
def layers(judge: Judge, cell: Cell) -> Verdict:
    """Each quantized layer on its own float32 input, read from the file; no coarse output.

    For a folder that somebody brought, nobody has the float32 file that has those inputs.
    """
    coarse = judge_steps(judge.execution(cell))
    if cell.flow.folder:
        return Verdict(coarse)
    limit = layer_limit_for(cell.model.family, cell.flow.backend)
    verdict = judge_layers(layer_noise(judge, cell), limit)
    return Verdict((*coarse, *verdict.failures), layers=verdict.layers)


def judge_layers(measured: Quantized, limit: LayerLimit) -> Verdict:
    """Enough layers are quantized, and none adds more noise than allowed."""
    noise = np.asarray([layer.sqnr_db for layer in measured.layers])
    quantized = len(noise)
    record = LayersRecord(
        quantized, measured.multiplying,
        min_db=float(noise.min()) if quantized else None,
        median_db=float(np.median(noise)) if quantized else None,
        worst=measured.layers[0].name if quantized else "",
        allowed_db=limit.min_db,
    )  # fmt: skip
    return Verdict(layer_failures(measured, limit), layers=record)


def judge_steps(execution: Execution) -> tuple[str, ...]:
    """A failure for each output that is itself in eight bits.

    The last layers must stay in float32: a peak differs from its neighbors by less than a 256th of
    the range. An output that went through int8 takes at most 256 values.
    """
    failures = []
    for info in execution.loaded.outputs:
        values = execution.graph_rows(info.name)[0]
        steps = len(np.unique(values))
        if steps <= _STEPS and np.count_nonzero(values) >= _VALUES:
            failures.append(
                f"{info.name} takes {steps} values in {values.size} elements: it is quantized "
                "itself, and the last layers must stay in float32"
            )
    return tuple(failures)
