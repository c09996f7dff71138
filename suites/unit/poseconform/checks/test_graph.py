"""What is in an ONNX file is read from the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from poseconform.checks.conversion import graph_facts


def save(path: Path, **save_options: object) -> Path:
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, None])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 3, 4])
    weights = numpy_helper.from_array(np.zeros(2000, np.float32), "w")
    off = numpy_helper.from_array(np.array(True), "training")
    nodes = [
        helper.make_node("Relu", ["input"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Custom", ["b"], ["output"], domain="mmdeploy", name="c"),
        helper.make_node("BatchNormalization", ["b"] * 5, ["d"], training_mode=1, name="bn"),
        helper.make_node("BatchNormalization", ["b"] * 5, ["e"], training_mode=0, name="fine"),
    ]
    graph = helper.make_graph(nodes, "g", [source], [output], [weights, off])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mmdeploy", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    onnx.save(model, path, **save_options)
    return path


def test_a_graph_is_counted_and_its_ends_are_described(tmp_path: Path) -> None:
    facts = graph_facts(save(tmp_path / "a.onnx"))
    assert facts.record.ops == {"Relu": 2, "Custom": 1, "BatchNormalization": 2}
    assert (facts.record.nodes, facts.record.opset, facts.record.ir) == (5, 17, 8)
    assert facts.domains == {"", "mmdeploy"}
    assert facts.inputs == {"input": ("batch", 3, "?")}
    assert facts.outputs == {"output": (1, 3, 4)}
    assert facts.external_data == ()
    assert facts.training == ("bn",)


def test_weights_outside_the_file_are_named(tmp_path: Path) -> None:
    path = save(tmp_path / "a.onnx", save_as_external_data=True, location="a.bin")
    (tmp_path / "a.bin").unlink()
    assert graph_facts(path).external_data == ("w",)


def test_what_is_no_graph_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no graph at all")
    with pytest.raises(Exception, match="pars"):
        graph_facts(path)
