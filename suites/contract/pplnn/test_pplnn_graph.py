"""The graph that PPLNN is given, on any machine: operators that it has, and the right numbers.

ONNX Runtime computes them, which judges what the conversion did to the graph. Where there is a
`pyppl`, the suites `parity` and `sdk_model` judge PPLNN itself.
"""

from __future__ import annotations

import pytest

from poseconform.checks.conversion import graph_facts
from poseconform.checks.declaration import Check
from poseconform.checks.table import require
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform_evaluating
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


@pytest.mark.checks("names_and_shapes")
def test_contract(cell: Cell, check: Check, judge: Judge) -> None:
    require(check(judge.evaluating(cell), cell))


@pytest.mark.checks("tensors", "keypoints")
@pytest.mark.flows(precision="fp32")
def test_graph_evaluated(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform_evaluating(check, judge, cell, record)
