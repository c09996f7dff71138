"""Engines of TensorRT for RTX on any machine: NVIDIA's own parser and builder take every graph.

No engine can be opened without a driver. So the engines themselves are what the suite `conversion`
judges, and the numbers are those of the graph that an engine was built from, on ONNX Runtime.
"""

from __future__ import annotations

import json

import onnx
import pytest

from poseconform.checks.conversion import graph_facts
from poseconform.checks.declaration import Check
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform_evaluating
from poseconform.pytest_plugin.recording import Notes

pytestmark = [pytest.mark.anywhere, pytest.mark.flows(backend="tensorrt-rtx")]


@pytest.mark.stage("contract")
def test_the_engine_has_the_ends_of_its_graph_and_the_precision_of_its_flow(
    cell: Cell, judge: Judge
) -> None:
    folder = judge.conversion(cell).folder
    facts = graph_facts(folder / "end2end.onnx")
    plan = (folder / "end2end.engine").read_bytes()
    missing = [name for name in (*facts.inputs, *facts.outputs) if name.encode() not in plan]
    assert missing == []
    assert json.loads((folder / "end2end.engine.json").read_text())["precision"] == (
        cell.flow.precision
    )
    weights = onnx.load(folder / "end2end.onnx").graph.initializer
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in weights)
    assert halves is (cell.flow.precision == "fp16")
    assert ("QuantizeLinear" in facts.record.ops) is (cell.flow.precision == "int8")
    assert "NonMaxSuppression" not in facts.record.ops


@pytest.mark.checks("finite", "names_and_shapes", "tensors", "layers", "batches", "keypoints")
def test_graph_evaluated(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform_evaluating(check, judge, cell, record)
