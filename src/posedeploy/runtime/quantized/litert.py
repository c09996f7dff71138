"""Layers of a `.tflite` file that compute in int8, on LiteRT's builtin kernels.

A tensor of int8 has one scale and one zero point: what a layer reads is rounded here, and what it
writes is turned back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.litert import SIGNATURE, Graph, Operator, open_tapped, read_graph
from posedeploy.runtime.quantized.noise import NoiseMeter, Quantized

# Operators that sum products: what int8 is for.
MULTIPLYING = frozenset({
    "BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV",
})  # fmt: skip
_ROUNDED = "_quantized"  # what the quantizer adds to the name of a tensor that it rounds again


def measure(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """Noise of every quantized layer; see `noise`."""
    graph, exact_graph = read_graph(Path(files[0])), read_graph(Path(float_files[0]))
    layers = quantized_layers(graph)
    operators = {graph.tensors[layer.outputs[0]].name: layer.kind for layer in layers}
    multiplying = sum(operator.kind in MULTIPLYING for operator in exact_graph.operators)
    meter = NoiseMeter()
    if layers:
        reads = sorted({i for layer in layers for i in _activations(graph, layer)})
        alone = open_tapped(_alone(Path(files[0]), layers, reads))
        scales = {info["index"]: info["quantization_parameters"]
                  for info in alone.get_tensor_details()}  # fmt: skip
        exact = open_tapped(Path(float_files[0]))
        places = {tensor.name: i for i, tensor in enumerate(exact_graph.tensors)}
        place = {i: _place(graph.tensors[i].name, places) for i in
                 (*reads, *(layer.outputs[0] for layer in layers))}  # fmt: skip
        runner = exact.get_signature_runner(SIGNATURE)
        (start,) = runner.get_input_details()
        for image in inputs:
            runner(**{start: image[None]})
            for i in reads:
                alone.set_tensor(i, _rounded(exact.get_tensor(place[i]), scales[i]))
            alone.invoke()
            for layer in layers:
                out = layer.outputs[0]
                got = _restored(alone.get_tensor(out), scales[out])
                meter.add(graph.tensors[out].name, got, exact.get_tensor(place[out]))
    return Quantized(meter.layers(operators), multiplying)


def quantized_layers(graph: Graph) -> tuple[Operator, ...]:
    """Operators that sum products of int8 and write int8, in the graph's order."""
    return tuple(
        operator
        for operator in graph.operators
        if operator.kind in MULTIPLYING
        and all(
            graph.tensors[i].dtype == "INT8"
            for i in (*_activations(graph, operator), operator.outputs[0])
        )
    )


def _activations(graph: Graph, layer: Operator) -> tuple[int, ...]:
    """What a layer reads that is computed."""
    return tuple(i for i in layer.inputs if i >= 0 and not graph.tensors[i].stored)


def _place(name: str, places: Mapping[str, int]) -> int:
    """A tensor's position in the float32 file."""
    for known in (name, name.removesuffix(_ROUNDED)):
        if known in places:
            return places[known]
    raise ValueError(f"the float32 file has no tensor {name!r}")


def _alone(file: Path, layers: Sequence[Operator], reads: Sequence[int]) -> bytes:
    """A file of the layers alone: tensors keep their places, and what they read is fed."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(file))
    (graph,) = model.subgraphs
    wanted = {layer.outputs[0] for layer in layers}
    graph.operators = [o for o in graph.operators if not wanted.isdisjoint(map(int, o.outputs))]
    graph.inputs, graph.outputs = list(reads), sorted(wanted)
    model.signatureDefs = []
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _rounded(values: NDArray[np.float32], scale: Mapping[str, Any]) -> NDArray[np.int8]:
    steps = np.rint(values / scale["scales"][0]) + scale["zero_points"][0]
    return np.asarray(np.clip(steps, -128, 127), np.int8)


def _restored(steps: NDArray[np.int8], scale: Mapping[str, Any]) -> NDArray[np.float32]:
    centered = steps.astype(np.float32) - scale["zero_points"][0]
    return np.asarray(centered * scale["scales"][0], np.float32)
