"""ONNX Runtime behind the protocol: what it reads of a file, how it runs, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from poseconform.judge import runs
from posedeploy.config import load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.convert.onnxruntime import weight_precision
from posedeploy.errors import BadInputError
from posedeploy.runtime import SessionOptions, TensorInfo, get_runtime

STATIC = "pose-detection_onnxruntime_static"
HALF = "pose-detection_onnxruntime-fp16_static"


def save(path: Path, nodes: list[Any], weights: dict[str, np.ndarray] | None = None) -> Path:
    """A graph from `input [batch, ?, 2]` to `output`."""
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", None, 2])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", None, 2])
    constants = [numpy_helper.from_array(v, name) for name, v in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", [source], [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    """Multiplies its input by [2, 3]."""
    weights = {"w": np.array([2.0, 3.0], np.float32)}
    node = helper.make_node("Mul", ["input", "w"], ["output"])
    return save(tmp_path / "scale.onnx", [node], weights)


def test_a_session_says_what_the_file_declares(scale: Path) -> None:
    session = get_runtime("onnxruntime").load([scale], "cpu", SessionOptions(threads=1))
    assert session.inputs == (TensorInfo("input", ("batch", "?", 2), "float32"),)
    assert session.outputs == (TensorInfo("output", ("batch", "?", 2), "float32"),)
    assert session.effective_options == {
        "providers": "CPUExecutionProvider",
        "intra_op_num_threads": "1",
        "inference_precision": "fp32",
    }


def test_it_runs_on_any_layout_and_dtype_of_the_input(scale: Path) -> None:
    session = get_runtime("onnxruntime").load([scale], "cpu", SessionOptions())
    feed = np.arange(12, dtype=np.float64).reshape(2, 2, 3).transpose(0, 2, 1)
    found = session.run({"input": feed})
    assert list(found) == ["output"]
    np.testing.assert_array_equal(found["output"], feed * [2, 3])
    assert found["output"].dtype == np.float32


def test_what_it_cannot_load_is_a_runtime_error_that_names_the_file(
    scale: Path, tmp_path: Path
) -> None:
    runtime = get_runtime("onnxruntime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    for path in (broken, tmp_path / "absent.onnx"):
        with pytest.raises(RuntimeError, match=rf"could not load {path.name}"):
            runtime.load([path], "cpu", SessionOptions())
    with pytest.raises(RuntimeError, match="device 'npu' is not one of"):
        runtime.load([scale], "npu", SessionOptions())


def test_the_judge_loads_once_and_runs_many_times(scale: Path) -> None:
    loaded = runs.load("onnxruntime", [str(scale)], "cpu", SessionOptions())
    assert [info.name for info in loaded.outputs] == ["output"]
    assert loaded.seconds > 0
    for batch in (1, 3):
        ran = runs.run(np.ones((batch, 1, 2), np.float32))
        assert ran.outputs["output"].shape == (batch, 1, 2)
        assert ran.seconds > 0


def test_fp32_is_a_copy(scale: Path, tmp_path: Path) -> None:
    work_dir = tmp_path / "out"
    work_dir.mkdir()
    converter = get_converter("onnxruntime", "fp32")
    done = converter.convert(scale, load_deploy_config(STATIC), work_dir)
    assert (done.files, done.precision) == (("end2end.onnx",), "fp32")
    assert (work_dir / "end2end.onnx").read_bytes() == scale.read_bytes()


def test_fp16_is_what_was_written_not_what_was_asked_for(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime.transformers.float16")
    work_dir = tmp_path / "out"
    work_dir.mkdir()
    weights = {"w": np.full((2, 2), 1.1, np.float32)}
    node = helper.make_node("MatMul", ["input", "w"], ["output"])
    graph = save(tmp_path / "mul.onnx", [node], weights)
    done = get_converter("onnxruntime", "fp16").convert(graph, load_deploy_config(HALF), work_dir)
    assert done.precision == "fp16"
    session = get_runtime("onnxruntime").load(
        [work_dir / "end2end.onnx"], "cpu", SessionOptions(precision="fp16")
    )
    out = session.run({"input": np.ones((1, 1, 2), np.float32)})["output"]
    assert out[0, 0, 0] == 2 * np.float16(1.1)


def graph_with(tmp_path: Path, weights: dict[str, np.ndarray], *ops: str) -> Path:
    nodes = [helper.make_node(op, ["input"], ["output"]) for op in ops or ("Relu",)]
    return save(tmp_path / "w.onnx", nodes, weights)


@pytest.mark.parametrize(
    ("weights", "ops", "precision"),
    [
        ({"a": np.zeros(10, np.float32)}, (), "fp32"),
        ({"a": np.zeros(10, np.float32), "b": np.zeros(11, np.float16)}, (), "fp16"),
        ({"a": np.zeros((4, 4), np.float32), "b": np.zeros(15, np.float16)}, (), "fp32"),
        ({}, (), "fp32"),
        ({"a": np.zeros(10, np.float32)}, ("QuantizeLinear",), "int8"),
    ],
)
def test_precision_is_that_of_most_weights(
    tmp_path: Path, weights: dict[str, np.ndarray], ops: tuple[str, ...], precision: str
) -> None:
    assert weight_precision(graph_with(tmp_path, weights, *ops)) == precision


def test_a_backend_or_precision_without_a_recipe_is_refused() -> None:
    with pytest.raises(BadInputError, match=r"a backend that can be converted to: .*onnxruntime"):
        get_converter("no-such-backend", "fp32")
    with pytest.raises(BadInputError, match="a precision with a recipe: fp32, fp16"):
        get_converter("onnxruntime", "fp7")
