"""Half precision on weights of the same function, with the ranges of networks in the field.

A network whose |x| in front of ScaleNorm is 40 passes in float16 where a published one, with 274,
finds every keypoint at one place. The stressed weights differ from the plain ones by powers of two
(`posedeploy.synthetic.stressed`), so that PyTorch's answers and the allowed errors are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from poseconform.checks.accuracy import accuracy
from poseconform.checks.declaration import Check, Verdict, check
from poseconform.checks.numeric import finite, tensors
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import FIGURES, figure_reference
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.judge.stressing import Stressed, stressed_weights
from poseconform.matrix.cells import Cell
from poseconform.matrix.weights import MADE
from poseconform.results.records import StressRecord

# |x| in front of ScaleNorm: of a published RTMPose-s (google-ai-edge/litert-samples#171), and
# seven times as much, for models that are larger or were trained for longer
LEVELS = (274.0, 2000.0)
HALVES = frozenset({"bf16", "fp16"})
ON_EVERY_CHANGE = frozenset({"default", "quick"})  # tiers that CI judges


@dataclass(frozen=True)
class _Extent:
    """What a cell of a tier is judged on: levels, precisions and shape modes."""

    levels: tuple[float, ...]
    precisions: frozenset[str]
    shape_modes: frozenset[str]


# Each level of a cell is a conversion, so models that CI judges have the larger one alone: values
# at the smaller one are between those of the plain weights and those of the larger one.
_FEW = _Extent(LEVELS[-1:], frozenset({"fp16"}), frozenset({"static"}))
_ALL = _Extent(LEVELS, HALVES, frozenset({"static", "dynamic"}))


def _extent(cell: Cell) -> _Extent:
    return _ALL if ON_EVERY_CHANGE.isdisjoint(cell.model.tiers) else _FEW


def _has_free_scale(cell: Cell, _device: str) -> bool:
    """Cells whose weights are made; the ranges of others are those of networks in the field."""
    flow, extent = cell.flow, _extent(cell)
    judged = flow.precision in extent.precisions and flow.shape_mode in extent.shape_modes
    made = not cell.model.checkpoint and cell.model.weights in MADE
    return cell.model.scale_norm and made and judged and not flow.folder


@check(stage="keypoints", suite="parity", applies=_has_free_scale)
def stressed(judge: Judge, cell: Cell) -> Verdict:
    """The cell holds on stressed weights too, against PyTorch's answers on the plain ones."""
    judge.conversion(cell)  # first: if it fails, its failure is the one to report
    figures = accuracy.applies(cell, judge.device(cell)) and judge.figures(FIGURES)
    if figures:
        figure_reference(judge, cell.model)
    checks = (finite, tensors, *((accuracy,) if figures else ()))
    records = [
        judge_stressed(judge, cell, stressed_weights(judge, cell.model, level), checks)
        for level in _extent(cell).levels
    ]
    failures = tuple(f"{record.name}: {record.failure}" for record in records if record.failure)
    return Verdict(failures, stressed=tuple(records))


def judge_stressed(
    judge: Judge, cell: Cell, weights: Stressed, checks: tuple[Check, ...]
) -> StressRecord:
    """What checks find on the cell as it is converted from stressed weights."""
    planted = judge.with_checkpoint(cell, weights.checkpoint)
    failures: list[str] = []
    measured: dict[str, Any] = {}
    for one in checks:
        try:
            verdict = one(planted, cell)
        except (StageFailure, Blocked) as failure:
            failures.append(f"{failure.stage}: {failure.message.splitlines()[0]}")
            break
        failures += verdict.failures
        measured |= verdict.measured()
    return StressRecord(
        norm=weights.norm, norm_input=weights.norm_input, failure="; ".join(failures),
        headroom=measured.get("headroom"), keypoint_error_px=measured.get("keypoint_error_px"),
    )  # fmt: skip
