"""The graph that PPLNN is given, on any machine: operators that it has, and the right numbers.

The numbers here are ONNX Runtime's: they judge what the conversion did to the graph.  Where there
is a `pyppl`, the suites `parity` and `sdk_model` judge PPLNN itself.
"""

from __future__ import annotations

import pytest

from poseconform.checks import table as checks
from poseconform.checks.onnx_facts import graph_facts
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import Notes

pytestmark = [pytest.mark.anywhere, pytest.mark.flows(backend="pplnn")]

# Where the x86 engine's table of kernels ends for operators that every model has (Reshape)
NEWEST_OPSET = 13
# No kernel at any opset, or none from opset 13 on
WITHOUT_KERNEL = frozenset(
    {"Gelu", "LayerNormalization", "ReduceL2", "Split", "Squeeze", "Unsqueeze"}
)


@pytest.mark.stage("contract")
def test_the_graph_holds_what_pplnn_has_kernels_for(cell: Cell, judge: Judge) -> None:
    facts = graph_facts(judge.conversion(cell).folder / "end2end.onnx")
    assert facts.record.opset is not None
    assert facts.record.opset <= NEWEST_OPSET
    assert not WITHOUT_KERNEL & set(facts.record.ops)
    assert facts.domains == {""}


@pytest.mark.stage("contract")
def test_the_graph_has_the_names_and_shapes_of_the_contract(cell: Cell, judge: Judge) -> None:
    checks.require(checks.names_and_shapes(judge.evaluating(cell), cell))


@pytest.mark.stage("numeric")
@pytest.mark.flows(precision="fp32")
def test_what_the_graph_stands_for_matches_pytorch(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    evaluating = judge.evaluating(cell)
    verdict = checks.numbers(evaluating, cell)
    if record.unavailable:  # where PPLNN runs, its own numbers are the cell's
        headrooms = [o.headroom for o in verdict.outputs if o.headroom is not None]
        options = evaluating.execution(cell).loaded.effective_options
        record(
            outputs=verdict.outputs,
            headroom=max(headrooms, default=None),
            effective_options=dict(options),
        )
    checks.require(verdict)


@pytest.mark.stage("keypoints")
@pytest.mark.flows(precision="fp32")
def test_keypoints_of_what_the_graph_stands_for_match_pytorch(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    verdict = checks.keypoints(judge.evaluating(cell), cell)
    if record.unavailable:
        record(keypoint_error_px=verdict.pixels, benign_flips=verdict.benign_flips)
    checks.require(verdict)
