"""Cleaning passes and the contract, on graphs made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from posedeploy.errors import ConversionError
from posedeploy.export.graph import (
    BATCH,
    clean,
    lower,
    problems,
    set_shape,
    tensor_infos,
    write_checked,
)

FLOATS = [[1.0, -2.0, 3.0]]


def _floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def _model(
    nodes: Iterable[Any],
    outputs: Sequence[str] = ("y",),
    initializers: Iterable[tuple[str, Any, Any]] = (),
    opset: int = 17,
) -> Any:
    graph = helper.make_graph(
        list(nodes),
        "by hand",
        [_floats("x", 1, 3)],
        [_floats(name, 1, 3) for name in outputs],
        [numpy_helper.from_array(np.asarray(v, t), n) for n, v, t in initializers],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = 8
    return proto


def _run(proto: Any) -> Any:
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array(FLOATS, np.float32)})


def _cleaned(proto: Any, opset: int = 17) -> Any:
    """The cleaned model, which still computes the same."""
    names = [value.name for value in proto.graph.output]
    before = _run(proto)
    cleaned = clean(proto, opset)
    onnx.checker.check_model(cleaned, full_check=True)
    assert [value.name for value in cleaned.graph.output] == names
    for old, new in zip(before, _run(cleaned), strict=True):
        np.testing.assert_array_equal(old, new)
    return cleaned


def _operators(proto: Any) -> list[str]:
    return [node.op_type for node in proto.graph.node]


node = helper.make_node


def test_a_chain_of_identities_is_removed() -> None:
    chain = [
        node("Identity", ["x"], ["a"]),
        node("Neg", ["a"], ["b"]),
        node("Identity", ["b"], ["c"]),
        node("Identity", ["c"], ["d"]),
        node("Abs", ["d"], ["e"]),
        node("Identity", ["e"], ["y"]),
    ]
    assert _operators(_cleaned(_model(chain))) == ["Neg", "Abs"]


def test_identities_that_name_outputs_stay_where_they_must() -> None:
    from_input = _model([node("Identity", ["x"], ["y"])])
    assert _operators(_cleaned(from_input)) == ["Identity"]
    twice = [
        node("Neg", ["x"], ["a"]),
        node("Identity", ["a"], ["y"]),
        node("Identity", ["a"], ["z"]),
        node("Abs", ["a"], ["w"]),
    ]
    cleaned = _cleaned(_model(twice, ("y", "z", "w")))
    assert sorted(_operators(cleaned)) == ["Abs", "Identity", "Neg"]
    of_output = [node("Neg", ["x"], ["y"]), node("Identity", ["y"], ["z"])]
    assert _operators(_cleaned(_model(of_output, ("y", "z")))) == ["Neg", "Identity"]


def test_a_shared_weight_is_read_directly() -> None:
    nodes = [
        node("Identity", ["w"], ["v"]),
        node("Add", ["x", "w"], ["a"]),
        node("Add", ["a", "v"], ["y"]),
    ]
    proto = _cleaned(_model(nodes, initializers=[("w", [[1, 2, 3]], np.float32)]))
    assert _operators(proto) == ["Add", "Add"]
    assert [list(n.input) for n in proto.graph.node] == [["x", "w"], ["a", "w"]]


def test_constants_become_initializers_and_equal_ones_one() -> None:
    two = numpy_helper.from_array(np.array([2.0], np.float32))
    nodes = [
        node("Constant", [], ["a"], value=two),
        node("Constant", [], ["b"], value_floats=[2.0]),
        node("Constant", [], ["c"], value_float=2.0),
        node("Constant", [], ["axes"], value_ints=[1]),
        node("Constant", [], ["index"], value_int=0),
        node("Mul", ["x", "a"], ["d"]),
        node("Mul", ["d", "b"], ["e"]),
        node("Mul", ["e", "c"], ["f"]),
        node("Unsqueeze", ["f", "axes"], ["g"]),
        node("Gather", ["g", "index"], ["y"], axis=1),
    ]
    proto = _cleaned(_model(nodes))
    assert _operators(proto) == ["Mul", "Mul", "Mul", "Unsqueeze", "Gather"]
    assert [t.name for t in proto.graph.initializer] == ["a", "c", "axes", "index"]


def test_a_constant_output_stays_a_node() -> None:
    value = numpy_helper.from_array(np.ones((1, 3), np.float32))
    nodes = [node("Constant", [], ["z"], value=value), node("Neg", ["x"], ["y"])]
    assert _operators(_cleaned(_model(nodes, ("y", "z")))) == ["Constant", "Neg"]


def test_what_no_output_needs_is_removed() -> None:
    nodes = [
        node("Add", ["x", "unused"], ["a"]),
        node("Neg", ["a"], ["unused_output"]),
        node("Abs", ["x"], ["y"]),
    ]
    proto = _cleaned(_model(nodes, initializers=[("unused", [1.0], np.float32)]))
    assert _operators(proto) == ["Abs"]
    assert not proto.graph.initializer


def _branch(operator: str, out: str) -> Any:
    nodes = [node("Identity", ["a"], [f"{out}_in"]), node(operator, ["c"], [out])]
    return helper.make_graph(nodes, out, [], [_floats(out, 1, 3)])


def test_subgraphs_keep_what_they_read() -> None:
    choice = node(
        "If", ["yes"], ["y"], then_branch=_branch("Neg", "t"), else_branch=_branch("Abs", "e")
    )
    nodes = [
        node("Neg", ["x"], ["a"]),
        node("Identity", ["a"], ["b"]),
        node("Identity", ["b"], ["c"]),
        choice,
    ]
    proto = _cleaned(_model(nodes, initializers=[("yes", True, np.bool_)]))
    assert _operators(proto) == ["Neg", "If"]
    names = [n.name for n in proto.graph.node]
    assert len(set(names)) == 2


def test_every_node_gets_a_name_of_its_own() -> None:
    nodes = [
        node("Neg", ["x"], ["a"], name="n"),
        node("Abs", ["a"], ["b"], name="n"),
        node("Neg", ["b"], ["y"]),
    ]
    proto = clean(_model(nodes), 17)
    _run(proto)  # ONNX Runtime refuses two nodes of one name
    names = [n.name for n in proto.graph.node]
    assert names[0] == "n"
    assert len(set(names)) == 3


def test_nothing_of_the_machine_is_left() -> None:
    proto = _model([node("Neg", ["x"], ["y"], doc_string="File /home/me/model.py, line 3")])
    proto.graph.node[0].metadata_props.add(key="stack", value="/home/me")
    proto.metadata_props.add(key="where", value="/home/me")
    proto.graph.value_info.append(_floats("a", "Add549_dim_0"))
    proto.opset_import.append(helper.make_opsetid("pkg.onnxscript.torch_lib", 1))
    proto = _cleaned(proto)
    assert b"/home/me" not in proto.SerializeToString()
    assert b"Add549" not in proto.SerializeToString()
    assert [e.domain for e in proto.opset_import] == [""]


def test_problems_are_named() -> None:
    good = _model([node("Neg", ["x"], ["y"])])
    assert problems(good, ["x"], ["y"], 1) == []
    assert problems(good, ["image"], ["y"], 1) == ["inputs x"]
    assert problems(good, ["x"], ["y"], BATCH) == ["x of shape [1, 3]", "y of shape [1, 3]"]
    set_shape(good.graph.output[0], [1, "Add549_dim_1"])
    assert problems(good, ["x"], ["y"], 1) == ["y of shape [1, 'Add549_dim_1']"]
    foreign = _model([node("Neg", ["x"], ["y"], domain="mmdeploy"), node("Dropout", ["x"], ["z"])])
    foreign.ir_version = 10
    foreign.functions.add(name="f")
    messages = "; ".join(problems(foreign, ["x"], ["y"], 1))
    for word in ("mmdeploy", "Dropout", "functions", "IR version 10"):
        assert word in messages


def test_infos_are_those_of_the_file() -> None:
    proto = _model([node("Neg", ["x"], ["y"])])
    set_shape(proto.graph.output[0], [BATCH, 3])
    (info,) = tensor_infos(proto.graph.output)
    assert (info.name, info.shape, info.dtype) == ("y", (BATCH, 3), "float32")


def test_a_file_that_the_checker_refuses_is_not_left(tmp_path: Path) -> None:
    proto = _model([node("Concat", ["x", "x"], ["y"], axis=0)])
    path = tmp_path / "bad.onnx"
    with pytest.raises(ConversionError, match=r"onnx\.checker refuses"):
        write_checked(proto, path)
    assert not path.exists()


def test_a_graph_beyond_protobufs_limit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ViTPose-huge has 2.5 GB of weights."""
    proto = _model([node("Add", ["x", "w"], ["y"])], initializers=[("w", [1.0] * 3, np.float32)])
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 11)
    with pytest.raises(ConversionError, match=r"GB of weights; expected at most .* protobuf"):
        write_checked(proto, tmp_path / "large.onnx")
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 12)
    write_checked(proto, tmp_path / "large.onnx")


def test_opset_18_is_lowered_where_that_is_exact() -> None:
    nodes = [
        node("ReduceMean", ["x", "axes"], ["a"], keepdims=1, noop_with_empty_axes=0),
        node("Split", ["x"], ["b", "c", "d"], axis=1, num_outputs=3),
        node("ReduceMax", ["x"], ["e"], keepdims=1),
        node("Sum", ["x", "a", "b", "c", "d", "e"], ["y"]),
    ]
    proto = _cleaned(_model(nodes, initializers=[("axes", [1], np.int64)], opset=18))
    assert _operators(proto) == ["ReduceMean", "Split", "ReduceMax", "Sum"]
    assert proto.opset_import[0].version == 17
    assert [t.name for t in proto.graph.initializer] == []


def test_opset_18_stays_where_lowering_would_not_be_exact() -> None:
    nodes = [
        node("Neg", ["x"], ["axes_of"]),
        node("Cast", ["axes_of"], ["i"], to=TensorProto.INT64),
        node("ReduceMean", ["x", "i"], ["y"]),
        node("Mish", ["x"], ["z"]),
        node("ScatterElements", ["x", "k", "x"], ["w"], reduction="max"),
        node("Pad", ["x", "p", "", "k"], ["v"]),
    ]
    proto = _model(nodes, opset=18)
    model = onnx_ir.from_proto(proto)
    assert lower(model) == ["Mish", "Pad", "ReduceMean", "ScatterElements"]
    assert model.opset_imports == {"": 18}


def test_opset_18_stays_when_it_was_asked_for() -> None:
    proto = _model([node("ReduceMax", ["x"], ["y"], keepdims=1)], opset=18)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1
    assert _cleaned(proto, opset=18).opset_import[0].version == 18
