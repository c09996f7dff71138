"""The reader of ONNX files against the onnx package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from posedeploy.errors import BadInputError
from posedeploy.sdk.onnxfile import fields, read_onnx, refuse_external_data


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "detections"])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_facts_equal_those_of_onnx(folders: Any, tmp_path: Path, kind: str, batch: Any) -> None:
    model = folders.graph(kind, batch, opset=13, ir=7)
    facts = read_onnx(write(tmp_path / "m.onnx", model))
    assert facts.ir_version == model.ir_version
    assert facts.opsets == {"": 13}
    assert facts.external == ()
    for ours, theirs in ((facts.inputs, model.graph.input), (facts.outputs, model.graph.output)):
        assert [info.name for info in ours] == [info.name for info in theirs]
        for info, value in zip(ours, theirs, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert list(info.shape) == [dim.dim_param or dim.dim_value for dim in dims]
            assert info.dtype == "float32"


def test_initializers_among_the_inputs_are_no_inputs(folders: Any, tmp_path: Path) -> None:
    model = folders.graph("detections")
    model.graph.input.append(helper.make_tensor_value_info("axes", TensorProto.INT64, [3]))
    assert [i.name for i in read_onnx(write(tmp_path / "m.onnx", model)).inputs] == ["input"]


def external(name: str) -> TensorProto:
    tensor = helper.make_tensor(name, TensorProto.FLOAT, [1], [0.0])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=f"{name}.bin")
    return tensor


def test_external_data_is_found_wherever_it_hides(folders: Any, tmp_path: Path) -> None:
    model = folders.graph("heatmap")
    model.graph.initializer.append(external("initializer"))
    constant = helper.make_node("Constant", [], ["c"], value=external("attribute"))
    body = helper.make_graph([constant], "body", [], [])
    body.initializer.append(external("subgraph"))
    model.graph.node.append(
        helper.make_node("If", ["cond"], [], then_branch=body, else_branch=body)
    )
    sparse = onnx.SparseTensorProto(values=external("sparse"))
    model.graph.sparse_initializer.append(sparse)
    model.functions.add(name="f", domain="d").node.append(
        helper.make_node("Constant", [], ["c"], value=external("function"))
    )
    model.training_info.add().algorithm.initializer.append(external("training"))
    path = write(tmp_path / "m.onnx", model)
    names = ("attribute", "function", "initializer", "sparse", "subgraph", "training")
    assert read_onnx(path).external == tuple(f"{name}.bin" for name in names)
    with pytest.raises(BadInputError, match=r"attribute\.bin"):
        refuse_external_data(path)


def test_a_word_in_the_graph_is_no_external_data(folders: Any, tmp_path: Path) -> None:
    model = folders.graph("heatmap")
    model.doc_string = "location"
    refuse_external_data(write(tmp_path / "m.onnx", model))


def test_graphs_nested_without_end_are_refused(folders: Any, tmp_path: Path) -> None:
    graph = helper.make_graph([], "g", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["c"], [], body=graph)], "g", [], [])
    with pytest.raises(BadInputError, match="nested deeper"):
        read_onnx(write(tmp_path / "m.onnx", helper.make_model(graph)))


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"", "no graph"),
        (b"\x08\x08", "no graph"),
        (b"\x3a", "middle of a field"),
        (b"\x3a\x05ab", "middle of a field"),
        (b"\x0f", "wire type"),
        (b"\x08" + b"\xff" * 12, "varint"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, data: bytes, failure: str) -> None:
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(BadInputError, match=failure):
        read_onnx(tmp_path / "m.onnx")


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    with pytest.raises(BadInputError, match="an empty file"):
        refuse_external_data(tmp_path / "m.onnx")


def message(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds a message."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x01" * 5_000_000,
        b"\x3a\x00" * 5_000_000,
        message(7, b"\x0a\x00" * 3_000_000),
        message(7, message(1, b"\x2a\x00" * 50_000) * 40),
    ],
    ids=["numbers", "graphs", "nodes", "attributes"],
)
def test_fields_without_end_are_refused_at_once(tmp_path: Path, data: bytes) -> None:
    """6 MB of empty nodes took 45 s."""
    (tmp_path / "m.onnx").write_bytes(data)
    start = time.process_time()
    with pytest.raises(BadInputError, match=r"more than 500,000 fields"):
        read_onnx(tmp_path / "m.onnx")
    assert time.process_time() - start < 4


@given(data=st.binary(max_size=200))
@example(data=bytes(8))
def test_bytes_are_fields_or_no_protobuf(data: bytes) -> None:
    numbers = {n: v for n, v in _fields_or_nothing(data) if isinstance(v, int)}
    assert all(number > 0 and value >= 0 for number, value in numbers.items())


def _fields_or_nothing(data: bytes) -> list[tuple[int, Any]]:
    try:
        return list(fields(memoryview(data)))
    except ValueError:  # any other exception fails the test
        return []
