"""Noise of quantized layers, read from artifacts of three backends: right ones and wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from posedeploy.runtime.quantized import ncnn_param, onnx_qdq, openvino_ir
from posedeploy.runtime.quantized.noise import NoiseMeter
from posedeploy.runtime.registry import BACKENDS, CPU, INT8

RNG = np.random.default_rng(5)
FIRST = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
SECOND = RNG.normal(size=(2, 4, 1, 1)).astype(np.float32)
INPUTS = RNG.uniform(-1, 1, (3, 3, 6, 6)).astype(np.float32)


def test_a_meter_pools_images_and_puts_the_noisiest_first() -> None:
    meter = NoiseMeter()
    meter.add("good", np.asarray([1.0, 0.0]), np.asarray([1.0, 0.0]))
    meter.add("bad", np.asarray([1.1]), np.asarray([1.0]))
    meter.add("bad", np.asarray([0.9]), np.asarray([1.0]))
    bad, good = meter.layers({"good": "Conv", "bad": "Gemm"})
    assert (bad.name, bad.operator, good.sqnr_db) == ("bad", "Gemm", np.inf)
    assert bad.sqnr_db == pytest.approx(20.0)


def test_a_meter_takes_no_noise_that_is_not_a_number_for_quiet() -> None:
    meter = NoiseMeter()
    meter.add("broken", np.asarray([np.nan]), np.asarray([1.0]))
    assert meter.layers({"broken": "Conv"})[0].sqnr_db == -np.inf
    with pytest.raises(ValueError, match=r"layer broken: int8 output \[2\], float32 \[1\]"):
        meter.add("broken", np.zeros(2), np.zeros(1))


# ---- ONNX ------------------------------------------------------------------------------------


def onnx_graph(nodes: list[Any], initializers: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in initializers.items()],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def float_onnx(path: Path, middle: str = "middle") -> Path:
    """Conv, Relu, Conv; the second one's weights are transposed by the runtime."""
    nodes = [
        helper.make_node("Conv", ["input", "w1"], ["first"]),
        helper.make_node("Relu", ["first"], [middle]),
        helper.make_node("Transpose", ["w2t"], ["w2"], perm=[1, 0, 2, 3]),
        helper.make_node("Conv", [middle, "w2"], ["output"]),
    ]
    transposed = np.ascontiguousarray(SECOND.transpose(1, 0, 2, 3))
    onnx.save(onnx_graph(nodes, {"w1": FIRST, "w2t": transposed}), path)
    return path


def int8_onnx(path: Path, scale: float = 1 / 127) -> Path:
    """The first convolution in int8, its input with this step."""
    steps = (np.abs(FIRST).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    weights = np.round(FIRST / steps[:, None, None, None]).astype(np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w1q", "w1s"], ["w1d"], axis=0),
        helper.make_node("Conv", ["d", "w1d"], ["first"]),
        helper.make_node("Relu", ["first"], ["middle"]),
        helper.make_node("Conv", ["middle", "w2"], ["output"]),
    ]
    step, zero = np.asarray(scale, np.float32), np.asarray(128, np.uint8)
    constants = {"s": step, "z": zero, "w1q": weights, "w1s": steps, "w2": SECOND}
    onnx.save(onnx_graph(nodes, constants), path)
    return path


def test_onnx_layers_are_found_and_their_noise_is_that_of_eight_bits(tmp_path: Path) -> None:
    files = [str(int8_onnx(tmp_path / "q.onnx"))], [str(float_onnx(tmp_path / "f.onnx"))]
    found = onnx_qdq.measure(*files, INPUTS)
    (layer,) = found.layers
    assert (layer.name, layer.operator, found.multiplying) == ("first", "Conv", 2)
    assert 30 < layer.sqnr_db < 60


def test_an_onnx_range_that_clips_is_heard(tmp_path: Path) -> None:
    files = [str(int8_onnx(tmp_path / "q.onnx", 0.1 / 127))], [str(float_onnx(tmp_path / "f"))]
    (layer,) = onnx_qdq.measure(*files, INPUTS).layers
    assert layer.sqnr_db < 5


def test_an_onnx_graph_that_quantizes_nothing_has_no_layers(tmp_path: Path) -> None:
    name = [str(float_onnx(tmp_path / "f.onnx"))]
    assert onnx_qdq.measure(name, name, INPUTS).layers == ()


def test_an_onnx_float32_file_with_other_tensors_is_refused(tmp_path: Path) -> None:
    other = onnx.load(float_onnx(tmp_path / "f.onnx"))
    for node in other.graph.node:
        node.output[:] = ["other" if n == "first" else n for n in node.output]
        node.input[:] = ["other" if n == "first" else n for n in node.input]
    onnx.save(other, tmp_path / "f.onnx")
    with pytest.raises(ValueError, match=r"1 tensors .* the first: first"):
        onnx_qdq.measure([str(int8_onnx(tmp_path / "q.onnx"))], [str(tmp_path / "f.onnx")], INPUTS)


def test_layers_of_an_engine_are_those_of_the_graph_beside_it(tmp_path: Path) -> None:
    for folder, write in (("int8", int8_onnx), ("fp32", float_onnx)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "end2end.onnx")
    engine, exact = (str(tmp_path / folder / "end2end.engine") for folder in ("int8", "fp32"))
    found = onnx_qdq.measure_beside([engine], [exact], INPUTS)
    assert ([layer.name for layer in found.layers], found.multiplying) == (["first"], 2)


def test_int8_files_that_are_run_or_evaluated_without_a_device_are_measured() -> None:
    """No tolerance holds for outputs of int8: without its layers a cell has no `numeric`."""
    rows = [row for row in BACKENDS if INT8 in row.precisions]
    here = [row for row in rows if CPU in row.devices or row.evaluator]
    assert [row.name for row in here if not row.measure] == []


# ---- OpenVINO --------------------------------------------------------------------------------


def openvino_files(folder: Path, name: str, limit: float | None) -> list[str]:
    """Two convolutions; the second one reads a FakeQuantize with this limit, if any."""
    ov = pytest.importorskip("openvino")
    ops = ov.opset13
    data = ops.parameter([1, 3, 6, 6], np.float32)
    settings: dict[str, Any] = {
        "strides": [1, 1], "pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1],
    }  # fmt: skip
    first = ops.convolution(data, ops.constant(FIRST), **settings)
    first.set_friendly_name("first")
    middle: Any = ops.relu(first)
    middle.set_friendly_name("middle")
    if limit is not None:
        low, high = np.float32(0), np.float32(limit)
        middle = ops.fake_quantize(middle, low, high, low, high, 256)
        moved = ops.transpose(middle, ops.constant(np.asarray([0, 1, 2, 3])))
        middle = moved
    second = ops.convolution(middle, ops.constant(SECOND), **settings)
    second.set_friendly_name("second")
    paths = [str(folder / f"{name}.xml"), str(folder / f"{name}.bin")]
    ov.save_model(ov.Model([second], [data], name), paths[0], compress_to_fp16=False)
    return paths


def test_openvino_layers_are_found_and_their_noise_is_that_of_eight_bits(tmp_path: Path) -> None:
    files = openvino_files(tmp_path, "q", 12.0), openvino_files(tmp_path, "f", None)
    found = openvino_ir.measure(*files, INPUTS)
    (layer,) = found.layers
    assert (layer.name, layer.operator, found.multiplying) == ("second", "Convolution", 2)
    assert 30 < layer.sqnr_db < 60


def test_an_openvino_range_that_clips_is_heard(tmp_path: Path) -> None:
    files = openvino_files(tmp_path, "q", 0.3), openvino_files(tmp_path, "f", None)
    (layer,) = openvino_ir.measure(*files, INPUTS).layers
    assert layer.sqnr_db < 5


def test_an_openvino_model_that_quantizes_nothing_has_no_layers(tmp_path: Path) -> None:
    files = openvino_files(tmp_path, "f", None)
    assert openvino_ir.measure(files, files, INPUTS).layers == ()


def test_an_openvino_float32_file_with_other_nodes_is_refused(tmp_path: Path) -> None:
    other = openvino_files(tmp_path, "f", None)
    text = Path(other[0]).read_text().replace('name="second"', 'name="other"')
    Path(other[0]).write_text(text)
    with pytest.raises(ValueError, match=r"1 values .* the first: second:0"):
        openvino_ir.measure(openvino_files(tmp_path, "q", 12.0), other, INPUTS)


# ---- ncnn ------------------------------------------------------------------------------------

PARAM = """7767517
4 4
Input input 0 1 in 0=6 1=6 2=3
Convolution first 1 1 in first 0=4 1=3 6=108{int8}
ReLU relu 1 1 first middle
Convolution second 1 1 middle out 0=2 1=1 6=8
"""


def ncnn_files(folder: Path, name: str, largest: float | None) -> list[str]:
    """Two convolutions; the first one in int8 for inputs up to `largest`, if any."""
    flag = np.zeros(1, np.uint32).tobytes()  # weights as they are, float32
    weights = flag + FIRST.tobytes()
    if largest is not None:
        steps = 127 / np.abs(FIRST).reshape(4, -1).max(axis=1)
        weights += steps.astype(np.float32).tobytes() + np.float32(127 / largest).tobytes()
    param, data = folder / f"{name}.param", folder / f"{name}.bin"
    param.write_text(PARAM.format(int8=" 8=2" if largest is not None else ""))
    data.write_bytes(weights + flag + SECOND.tobytes())
    return [str(param), str(data)]


def test_ncnn_layers_are_found_and_their_noise_is_that_of_eight_bits(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    files = ncnn_files(tmp_path, "q", 1.0), ncnn_files(tmp_path, "f", None)
    found = ncnn_param.measure(*files, INPUTS)
    (layer,) = found.layers
    assert (layer.name, layer.operator, found.multiplying) == ("first", "Convolution", 2)
    assert 30 < layer.sqnr_db < 60


def test_an_ncnn_range_that_clips_is_heard(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    files = ncnn_files(tmp_path, "q", 0.1), ncnn_files(tmp_path, "f", None)
    (layer,) = ncnn_param.measure(*files, INPUTS).layers
    assert layer.sqnr_db < 5


def test_an_ncnn_net_that_quantizes_nothing_has_no_layers(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    files = ncnn_files(tmp_path, "f", None)
    assert ncnn_param.measure(files, files, INPUTS).layers == ()


def test_an_ncnn_float32_file_with_other_blobs_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    other = ncnn_files(tmp_path, "f", None)
    Path(other[0]).write_text(Path(other[0]).read_text().replace(" first ", " other "))
    with pytest.raises(ValueError, match="first: the float32 net has no blob first"):
        ncnn_param.measure(ncnn_files(tmp_path, "q", 1.0), other, INPUTS)


def test_an_ncnn_file_that_is_refused_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ncnn")
    broken = ncnn_files(tmp_path, "f", None)
    Path(broken[0]).write_text(Path(broken[0]).read_text().replace("ReLU ", "NoSuchLayer "))
    with pytest.raises(ValueError, match=r"ncnn refuses f\.param"):
        ncnn_param.measure(broken, broken, INPUTS)


def test_an_ncnn_layer_says_that_it_computes_in_int8_by_its_own_parameter(tmp_path: Path) -> None:
    lines = "7767517\n3 3\nGemm a 1 1 x y 18=4\nGemm b 1 1 x z 8=2\nConvolution c 1 1 x w 8=2\n"
    (tmp_path / "g.param").write_text(lines)
    found = ncnn_param.read_layers(tmp_path / "g.param")
    assert [layer.quantized for layer in found] == [True, False, True]
