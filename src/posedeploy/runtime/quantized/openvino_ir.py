"""Layers that read FakeQuantize nodes in an OpenVINO model, in OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.openvino import shared_core
from posedeploy.runtime.quantized.noise import NoiseMeter, Quantized

# Operators that sum products: what int8 is for.
MULTIPLYING = frozenset({
    "Convolution", "ConvolutionBackpropData", "GroupConvolution",
    "GroupConvolutionBackpropData", "MatMul",
})  # fmt: skip
QUANTIZE = "FakeQuantize"
# What may lie between a layer and the FakeQuantize in front of it: no arithmetic.
_MOVES = frozenset({"Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_SETTINGS = {
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0", "INFERENCE_NUM_THREADS": "1",
    "INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": "1",
}  # fmt: skip


@dataclass(frozen=True)
class Layer:
    """A node of the int8 model, and the FakeQuantize nodes of its activations."""

    node: Any
    quantizers: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Its friendly name, the same in the float32 model."""
        return str(self.node.get_friendly_name())


def measure(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """Noise of every quantized layer; see `noise`."""
    import openvino as ov

    core = shared_core()
    model, exact = core.read_model(*files[:2]), core.read_model(*float_files[:2])
    multiplying = sum(node.get_type_name() in MULTIPLYING for node in exact.get_ops())
    layers = list(quantized_layers(model))
    operators = {layer.name: str(layer.node.get_type_name()) for layer in layers}
    meter = NoiseMeter()
    if layers:
        ends = [key_of(layer.node.output(0)) for layer in layers]
        reads, alone = _alone(ov, layers)
        tapped = core.compile_model(_tapped(ov, exact, [*ends, *reads]), "CPU", _SETTINGS)
        quantized = core.compile_model(alone, "CPU", _SETTINGS)
        for image in inputs:
            values = _run(tapped, [image[None]])
            outputs = _run(quantized, values[len(ends) :])
            for layer, got, expected in zip(layers, outputs, values, strict=False):
                meter.add(layer.name, got, expected)
    return Quantized(meter.layers(operators), multiplying)


def quantized_layers(model: Any) -> Iterator[Layer]:
    """Layers all of whose activations are quantized, in the model's order."""
    constants: set[str] = set()  # friendly names of the nodes that depend on no input
    for node in model.get_ordered_ops():
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if node.get_type_name() != "Parameter" and constants.issuperset(sources):
            constants.add(node.get_friendly_name())
        if node.get_type_name() in MULTIPLYING:
            activations = [i for i in range(2) if sources[i] not in constants]
            quantizers = tuple(_quantizer(node.input_value(i)) for i in activations)
            if quantizers and all(quantizer is not None for quantizer in quantizers):
                yield Layer(node, quantizers)


def _quantizer(port: Any) -> Any:
    """The FakeQuantize that makes a value, moves aside; None without one."""
    node = port.get_node()
    while node.get_type_name() in _MOVES:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == QUANTIZE else None


def key_of(port: Any) -> str:
    """What a value is called: its node's friendly name and which output it is."""
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def _alone(ov: Any, layers: Sequence[Layer]) -> tuple[list[str], Any]:
    """What the layers' quantizers read, and a model that takes it, in this order."""
    quantizers = {q.get_friendly_name(): q for layer in layers for q in layer.quantizers}
    # all are read before the first one is replaced
    ports = [(quantizer, quantizer.input_value(0)) for quantizer in quantizers.values()]
    parameters: dict[str, Any] = {}
    for quantizer, port in ports:
        key = key_of(port)
        if key not in parameters:
            parameters[key] = ov.opset13.parameter(
                port.get_partial_shape(), port.get_element_type()
            )
        quantizer.input(0).replace_source_output(parameters[key].output(0))
    results = [ov.opset13.result(layer.node.output(0)) for layer in layers]
    return list(parameters), ov.Model(results, list(parameters.values()), "layers")


def _tapped(ov: Any, model: Any, keys: Sequence[str]) -> Any:
    """The float32 model with these values as its outputs, in this order."""
    ports = {key_of(port): port for node in model.get_ops() for port in node.outputs()}
    if lost := [key for key in keys if key not in ports]:
        raise ValueError(
            f"{len(lost)} values that the int8 model quantizes are not in the float32 model; "
            f"the first: {lost[0]}"
        )
    results = [ov.opset13.result(ports[key]) for key in keys]
    return ov.Model(results, model.get_parameters(), "tapped")


def _run(compiled: Any, feed: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    results = compiled.create_infer_request().infer(list(feed), share_outputs=False)
    return [results[i] for i in range(len(compiled.outputs))]
