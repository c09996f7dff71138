"""Layers between QuantizeLinear and DequantizeLinear nodes of an ONNX graph, in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.quantized.noise import NoiseMeter, Quantized

# Operators that sum products: what int8 is for.
MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_FED = "fed:"  # what the name of a tensor begins with where the value is fed
_RENAMED = "_QuantizeLinear_Input"  # ONNX Runtime's quantizer adds it to graph outputs


@dataclass(frozen=True)
class Layer:
    """A node that computes on dequantized values."""

    name: str  # its output tensor: unique, and the same in both graphs
    operator: str
    nodes: frozenset[str]  # output tensors of the node itself and of the pairs in front of it
    reads: frozenset[str]  # float tensors that go into its pairs or into itself: they are fed


def measure(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """Noise of every quantized layer; see `noise`."""
    import onnx

    model, exact = onnx.load(files[0]), onnx.load(float_files[0])
    multiplying = sum(node.op_type in MULTIPLYING for node in exact.graph.node)
    layers = quantized_layers(model.graph)
    meter = NoiseMeter()
    if layers:
        start = exact.graph.input[0].name
        names = {name for layer in layers for name in (layer.name, *layer.reads)}
        tapped = _session(_tapped(exact, {original(name) for name in names}))
        alone = _session(_alone(model, layers))
        for image in inputs:
            values = {start: image[None]} | _run(tapped, {start: image[None]})
            fed = {
                value.name: values[original(value.name.removeprefix(_FED))]
                for value in alone.get_inputs()
            }
            for name, got in _run(alone, fed).items():
                meter.add(name, got, values[original(name)])
    operators = {layer.name: layer.operator for layer in layers}
    return Quantized(meter.layers(operators), multiplying)


def measure_beside(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """`measure` of the graphs beside engines: those that the engines were built from."""
    graph, exact = (str(Path(names[0]).with_suffix(".onnx")) for names in (files, float_files))
    return measure([graph], [exact], inputs)


def original(tensor: str) -> str:
    """What a float tensor of the int8 graph is called in the float32 graph."""
    return tensor.removesuffix(_RENAMED)


def quantized_layers(graph: Any) -> tuple[Layer, ...]:
    """Nodes both of whose operands come out of int8, in the graph's order."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer} | {""}
    for node in graph.node:  # exporters leave transposed weights to the runtime
        if constants.issuperset(node.input):
            constants.update(node.output)
    return tuple(
        _layer(node, makers, constants)
        for node in graph.node
        if node.op_type in MULTIPLYING
        and all(name in makers and makers[name].op_type == DEQUANTIZE for name in node.input[:2])
    )


def _layer(node: Any, makers: Mapping[str, Any], constants: set[str]) -> Layer:
    nodes, reads = {node.output[0]}, set()
    pending = [name for name in node.input if name]
    while pending:
        name = pending.pop()
        maker = makers.get(name)
        if maker is not None and maker.op_type in {DEQUANTIZE, QUANTIZE, "Constant"}:
            nodes.add(name)
            pending += list(maker.input)
        elif name not in constants:
            reads.add(name)
    return Layer(node.output[0], node.op_type, frozenset(nodes), frozenset(reads))


def _alone(model: Any, layers: Sequence[Layer]) -> Any:
    """A model of the layers and their pairs alone; what they read is fed."""
    import onnx

    reads = {name for layer in layers for name in layer.reads}
    wanted = {name for layer in layers for name in layer.nodes}
    nodes = [node for node in model.graph.node if node.output[0] in wanted]
    for node in nodes:
        node.input[:] = [f"{_FED}{name}" if name in reads else name for name in node.input]
    used = {name for node in nodes for name in node.input}
    inputs = [_float(f"{_FED}{name}") for name in sorted(reads)]
    outputs = [_float(layer.name) for layer in layers]
    weights = [tensor for tensor in model.graph.initializer if tensor.name in used]
    graph = onnx.helper.make_graph(nodes, "layers", inputs, outputs, weights)
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )


def _tapped(model: Any, wanted: set[str]) -> Any:
    """The float32 model with these tensors among its outputs."""
    computed = {name for node in model.graph.node for name in node.output}
    ends = {value.name for value in (*model.graph.input, *model.graph.output)}
    if lost := sorted(wanted - computed - ends):
        raise ValueError(
            f"{len(lost)} tensors that the int8 graph quantizes are not in the float32 graph; "
            f"the first: {lost[0]}"
        )
    model.graph.output.extend(_float(name) for name in sorted(wanted - ends))
    return model


def _float(name: str) -> Any:
    import onnx

    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def _session(model: Any) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: Any, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feed)), strict=True))
