"""Checks below float32; each finds nothing to say where it does not apply."""

from __future__ import annotations

from dataclasses import replace

from poseconform.compare.precision import judge_accuracy, judge_layers, judge_steps, refusal
from poseconform.compare.tensors import Verdict
from poseconform.compare.tolerances import accuracy_limit_for, layer_limit_for
from poseconform.datasets.accuracy import FIGURES, why_not
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import MEASURES, accuracy_reference, figure_keypoints, layer_noise
from poseconform.matrix.cells import Cell
from poseconform.matrix.weights import FITTED_PRECISIONS


def layers(judge: Judge, cell: Cell) -> Verdict:
    """Each quantized layer on its own float32 input, read from the artifact; no coarse output.

    Raises:
        LookupError: Nobody has measured how exact this backend's layers are.
    """
    if cell.flow.precision != "int8" or cell.flow.backend not in MEASURES:
        return Verdict()
    limit = layer_limit_for(cell.model.family, cell.flow.backend)
    if limit is None:
        raise LookupError(
            f"no limit for quantized layers of {cell.model.family} on {cell.flow.backend}"
        )
    coarse = judge_steps(judge.execution(cell))
    verdict = judge_layers(layer_noise(judge, cell), limit)
    return replace(verdict, failures=(*coarse, *verdict.failures))


def accuracy(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints on labeled figures, against the same weights in PyTorch float32.

    Raises:
        LookupError: Nobody has measured how far keypoints of this flow may move.
    """
    if cell.flow.precision not in FITTED_PRECISIONS:
        return Verdict()
    judge.conversion(cell)  # first: what blocks the cell is what there is to say
    if (record := why_not(cell.model, judge.figures(FIGURES))) is not None:
        return refusal(record)
    limit = accuracy_limit_for(cell.model.family, cell.flow.backend, cell.flow.precision)
    if limit is None:
        raise LookupError(
            f"no limit for keypoints of {cell.model.family} on {cell.flow.backend} "
            f"{cell.flow.precision}"
        )
    reference = accuracy_reference(judge, cell.model)
    return judge_accuracy(figure_keypoints(judge, cell), reference, limit)
