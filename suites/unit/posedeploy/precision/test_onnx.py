"""fp16 and int8 of ONNX graphs: what changes, what stays, and that it still computes the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from fixtures.small_graphs import detector_graph, noise, simcc_graph
from posedeploy.errors import ConversionError
from posedeploy.precision.float_layers import FLOAT_PARTS, float_nodes, parts
from posedeploy.precision.fp16 import to_fp16
from posedeploy.precision.qdq import RECIPES, Quantized, quantize_onnx, quantized_layers
from posedeploy.runtime import SessionOptions, get_runtime

pytest.importorskip("onnxruntime.quantization")

NORM = {"norm", "norm_scale", "norm_clip", "norm_div"}
DECODE = {"flatten", "strides", "points", "decode", "sigmoid"}


def run(path: Path, array: np.ndarray) -> dict[str, np.ndarray]:
    session = get_runtime("onnxruntime").load([path], "cpu", SessionOptions())
    return session.run({"input": array})


def sqnr(path: Path, other: Path, name: str) -> float:
    """Signal to noise of an output, dB."""
    signal = error = 0.0
    for array in noise(99).inputs():
        truth, found = (run(p, array)[name].astype(float) for p in (path, other))
        signal, error = signal + (truth**2).sum(), error + ((truth - found) ** 2).sum()
    return float(10 * np.log10(signal / max(error, 1e-30)))


# --- the table ----------------------------------------------------------------------------------


def test_what_stays_is_found_in_a_simcc_graph(tmp_path: Path) -> None:
    graph = onnx.load(simcc_graph(tmp_path / "m.onnx")).graph
    assert set(float_nodes(graph, "fp16")) == {*NORM, "softmax"}
    assert set(float_nodes(graph, "int8")) == {*NORM, "softmax", "cls_x", "cls_y"}


def test_what_divides_a_norms_input_stays_in_int8_alone(tmp_path: Path) -> None:
    """The form in which `export.norms` writes a ScaleNorm."""
    model = onnx.load(simcc_graph(tmp_path / "m.onnx"))
    make, nodes = onnx.helper.make_node, list(model.graph.node)
    made = [
        make("Abs", ["d"], ["d_abs"], "abs"),
        make("ReduceMax", ["d_abs"], ["d_max"], "max", axes=[2], keepdims=1),
        make("Clip", ["d_max", "eps"], ["d_least"], "least"),
        make("Div", ["d", "d_least"], ["divided"], "divide"),
    ]
    for node in nodes:
        if node.name in {"norm", "norm_div"}:
            node.input[0] = "divided"
    at = next(i for i, node in enumerate(nodes) if node.name == "norm")
    for offset, node in enumerate(made):
        model.graph.node.insert(at + offset, node)
    division = {"abs", "max", "least", "divide"}
    assert set(float_nodes(model.graph, "fp16")) == {*NORM, "softmax"}
    assert set(float_nodes(model.graph, "int8")) == {
        *NORM, *division, "softmax", "cls_x", "cls_y",
    }  # fmt: skip


def test_a_bias_after_the_last_layer_stays_with_it(tmp_path: Path) -> None:
    """Exporters write a linear layer on a batch of unknown size as MatMul and Add."""
    model = onnx.load(simcc_graph(tmp_path / "m.onnx"))
    (last,) = (node for node in model.graph.node if node.name == "cls_x")
    last.output[0] = "before_the_bias"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "bias"))
    add = onnx.helper.make_node("Add", ["bias", "before_the_bias"], ["simcc_x"], name="bias_x")
    model.graph.node.append(add)
    assert {"cls_x", "bias_x"} <= set(float_nodes(model.graph, "int8"))


def test_the_decode_of_a_detector_stays_and_its_last_layers_are_convolutions(
    tmp_path: Path,
) -> None:
    graph = onnx.load(detector_graph(tmp_path / "m.onnx")).graph
    assert set(float_nodes(graph, "fp16")) == DECODE
    kept = float_nodes(graph, "int8")
    assert set(kept) == {*DECODE, "head"}
    assert parts(kept) == {"decode and NMS": 5, "last layers": 1}


@pytest.mark.parametrize("kind", ["Sigmoid", "Softmax"])
def test_what_makes_coordinates_after_the_last_layers_stays(tmp_path: Path, kind: str) -> None:
    """A graph whose `simcc_x` goes through a softmax and a product; without it nothing stays."""
    model = onnx.load(simcc_graph(tmp_path / "m.onnx"))
    (last,) = (node for node in model.graph.node if node.name == "cls_x")
    last.output[0] = "logits"
    make = onnx.helper.make_node
    model.graph.node.extend([
        make(kind, ["logits"], ["mass"], name="mass"),
        make("Mul", ["mass", "mass"], ["simcc_x"], name="product"),
    ])  # fmt: skip
    assert float_nodes(model.graph, "fp16").get("product") == "decode and NMS"
    assert {"mass", "product"} <= {*float_nodes(model.graph, "int8")}
    model.graph.node[-2].op_type = "Relu"
    assert "product" not in float_nodes(model.graph, "fp16")


@pytest.mark.parametrize("where", ["node", "weight"])
def test_litehrnets_depthwise_convolution_is_identified_by_either_exporters_name(
    tmp_path: Path, where: str
) -> None:
    model = onnx.load(simcc_graph(tmp_path / "m.onnx"))
    name = "backbone.head_layer.projects.3.depthwise_conv.conv.weight"
    if where == "node":
        model.graph.node[0].name = "/backbone/head_layer/projects.3/depthwise_conv/conv/Conv"
    else:
        model.graph.node[0].input[1] = name
    assert "LiteHRNet's last depthwise convolution" in float_nodes(model.graph, "int8").values()


def test_every_row_has_a_reason() -> None:
    assert len({row.part for row in FLOAT_PARTS}) == len(FLOAT_PARTS)
    assert all(len(row.why) > 40 and row.precisions for row in FLOAT_PARTS)


# --- fp16 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [simcc_graph, detector_graph])
def test_fp16_computes_the_same_and_is_a_valid_graph(
    tmp_path: Path, graph: Callable[[Path], Path]
) -> None:
    ir, out = graph(tmp_path / "m.onnx"), tmp_path / "h.onnx"
    to_fp16(ir, out)
    onnx.checker.check_model(str(out), full_check=True)
    for name in (value.name for value in onnx.load(ir).graph.output):
        assert sqnr(ir, out, name) > 50


def test_nothing_is_rounded_inside_a_part_that_stays(tmp_path: Path) -> None:
    """A place of 640 px in float16 has steps of 0.5 px; the sum is exact to float32 here."""
    ir, out = detector_graph(tmp_path / "m.onnx"), tmp_path / "h.onnx"
    to_fp16(ir, out)
    nothing = np.zeros((1, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(run(out, nothing)["boxes"], run(ir, nothing)["boxes"])
    to_fp16(ir, out, keep=())
    assert np.abs(run(out, nothing)["boxes"] - run(ir, nothing)["boxes"]).max() > 0.05


def test_the_norm_is_computed_in_float32(tmp_path: Path) -> None:
    """ONNX Runtime's CPU may fuse casts away and compute in float32 either way: see the types."""
    ir, out = simcc_graph(tmp_path / "m.onnx"), tmp_path / "h.onnx"
    for keep, dtype in ((None, onnx.TensorProto.FLOAT), ((), onnx.TensorProto.FLOAT16)):
        to_fp16(ir, out, keep)
        inferred = onnx.shape_inference.infer_shapes(onnx.load(out)).graph
        types = {v.name: v.type.tensor_type.elem_type for v in inferred.value_info}
        made = {name for n in inferred.node if n.name in NORM - {"norm_div"} for name in n.output}
        assert {types[name] for name in made} == {dtype}


def test_types_of_inputs_and_outputs_are_as_asked(tmp_path: Path) -> None:
    ir, out = simcc_graph(tmp_path / "m.onnx"), tmp_path / "h.onnx"
    for keep_io, dtype in ((True, onnx.TensorProto.FLOAT), (False, onnx.TensorProto.FLOAT16)):
        to_fp16(ir, out, keep_io_types=keep_io)
        graph = onnx.load(out).graph
        types = {v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
        assert types == {dtype}


def test_a_deploy_configs_block_list_is_on_top_of_the_table(tmp_path: Path) -> None:
    ir, out = simcc_graph(tmp_path / "m.onnx"), tmp_path / "h.onnx"
    kept = to_fp16(ir, out, node_block_list=["hidden"])
    assert kept["hidden"] == "deploy config"
    assert {*kept} > NORM


# --- int8 ---------------------------------------------------------------------------------------


def quantize(ir: Path, out: Path, recipe: str = "onnxruntime", **arguments: Any) -> Quantized:
    return quantize_onnx(ir, out, noise(0), RECIPES[recipe], **arguments)


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize("graph", [simcc_graph, detector_graph])
def test_int8_is_near_and_valid_and_keeps_the_names(
    tmp_path: Path, graph: Callable[[Path], Path], recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ir, out = graph(tmp_path / "m.onnx"), tmp_path / "q.onnx"
    done = quantize(ir, out, recipe)
    assert capsys.readouterr().out == ""  # calibrators print, and scripts read standard output
    onnx.checker.check_model(str(out), full_check=True)
    before, after = onnx.load(ir).graph, onnx.load(out).graph
    assert {n.name for n in before.node} <= {n.name for n in after.node}
    assert {t for n in before.node for t in n.output} <= {t for n in after.node for t in n.output}
    assert done.layers == quantized_layers(after)
    assert set(done.layers).isdisjoint(done.kept)
    for name in (value.name for value in before.output):
        assert sqnr(ir, out, name) > 20


def test_parts_that_stay_read_what_was_not_rounded(tmp_path: Path) -> None:
    ir, out = simcc_graph(tmp_path / "m.onnx"), tmp_path / "q.onnx"
    kept = quantize(ir, out).kept
    original = {node.name: list(node.input) for node in onnx.load(ir).graph.node}
    for node in onnx.load(out).graph.node:
        if node.name in kept:
            assert list(node.input) == original[node.name]


def test_tensorrts_recipe_has_zero_points_of_zero_and_float_weights(tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    quantize(simcc_graph(tmp_path / "m.onnx"), out, "tensorrt")
    graph = onnx.load(out).graph
    points = {node.input[2] for node in graph.node if node.op_type.endswith("QuantizeLinear")}
    arrays = [onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name in points]
    assert arrays
    assert all(array.dtype == np.int8 and not array.any() for array in arrays)
    weights = {t.name: t.data_type for t in graph.initializer}
    assert weights["w1"] == onnx.TensorProto.FLOAT


def test_onnxruntimes_recipe_is_unsigned_by_signed_and_per_channel(tmp_path: Path) -> None:
    out = tmp_path / "q.onnx"
    quantize(simcc_graph(tmp_path / "m.onnx"), out)
    graph = onnx.load(out).graph
    kinds = {t.name: t.data_type for t in graph.initializer}
    activations = {kinds[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"}
    assert activations == {onnx.TensorProto.UINT8}
    sizes = {t.name: list(t.dims) for t in graph.initializer}
    assert kinds["w2_quantized"] == onnx.TensorProto.INT8
    assert sizes["w2_scale"] == [4]


def test_quantizing_a_decode_costs_accuracy(tmp_path: Path) -> None:
    ir, out = detector_graph(tmp_path / "m.onnx"), tmp_path / "q.onnx"
    quantize(ir, out)
    good = sqnr(ir, out, "boxes")
    quantize(ir, out, keep=())
    assert sqnr(ir, out, "boxes") < good - 6


def test_ranges_come_from_the_calibration_set(tmp_path: Path) -> None:
    """Calibrated on inputs a hundredth as large, everything saturates."""
    ir, out = simcc_graph(tmp_path / "m.onnx"), tmp_path / "q.onnx"
    quantize_onnx(ir, out, noise(0, scale=0.01), RECIPES["onnxruntime"])
    assert sqnr(ir, out, "simcc_x") < 20


def test_it_is_the_same_file_every_time(tmp_path: Path) -> None:
    ir, first, second = simcc_graph(tmp_path / "m.onnx"), tmp_path / "1.onnx", tmp_path / "2.onnx"
    quantize(ir, first)
    quantize(ir, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_graph_in_which_nothing_can_be_quantized_is_an_error(tmp_path: Path) -> None:
    ir = simcc_graph(tmp_path / "m.onnx")
    everything = [node.name for node in onnx.load(ir).graph.node]
    with pytest.raises(ConversionError, match="no layer that was quantized"):
        quantize(ir, tmp_path / "q.onnx", keep=everything)
