"""int8 for ONNX graphs: ONNX Runtime's static quantizer, one recipe a backend."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import kept_nodes
from posedeploy.precision.graph import WEIGHTED, GraphView, graph_view
from posedeploy.precision.progress import watched


@dataclass(frozen=True)
class QdqRecipe:
    """How a backend wants its QuantizeLinear and DequantizeLinear nodes.

    Attributes:
        activations: 'uint8' or 'int8'.
        operators: Operators that are quantized.
        outputs_too: True to quantize what these put out as well as what they read.
        options: `extra_options` of ONNX Runtime's `quantize_static`.
    """

    activations: str
    operators: tuple[str, ...]
    outputs_too: bool
    options: Mapping[str, Any] = field(default_factory=dict)


# Operators that ONNX Runtime's CPU kernels run on int8 and that lie between weighted layers; a
# chain of them stays in int8 without a float in between.
_BETWEEN = (
    "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Mul", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip

# ---- modify this table to add a backend ------------------------------------------------------
RECIPES: Mapping[str, QdqRecipe] = {
    # Unsigned activations and signed weights run about twice as fast as signed ones on x86.
    "onnxruntime": QdqRecipe("uint8", (*WEIGHTED, *_BETWEEN), outputs_too=True),
    # TensorRT's explicit quantization: zero points are 0, weights and bias stay float in the file,
    # every layer has a pair of its own.
    "tensorrt": QdqRecipe(
        "int8",
        WEIGHTED,
        outputs_too=False,
        options={
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": True,
            "QuantizeBias": False,
        },
    ),
}
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Quantized:
    """What was done to a graph.

    Attributes:
        layers: Names of the weighted nodes that read quantized weights.
        kept: Node name -> the part of the table that keeps it in float32.
    """

    layers: tuple[str, ...]
    kept: Mapping[str, str]


def quantize_onnx(
    ir: Path,
    out: Path,
    calibration: CalibrationSet,
    recipe: QdqRecipe,
    keep: Collection[str] | None = None,
) -> Quantized:
    """Write the int8 form of an ONNX graph: per channel, ranges from minimum to maximum.

    Nodes and tensors keep their names; what is added has names of its own.  A node that stays in
    float32 reads what its producer computed, before any rounding.

    Args:
        ir: The float32 graph.
        out: The file to write.
        calibration: What to measure the ranges on.
        recipe: A row of `RECIPES`.
        keep: Names of nodes that stay float32; None takes those of the table `kept.KEPT`.

    Raises:
        ConversionError: ONNX Runtime refuses the graph, or nothing in it could be quantized.
    """
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    original = onnx.load(ir)
    table = kept_nodes(original.graph, "int8")
    kept = table if keep is None else {name: table.get(name, "asked for") for name in keep}
    quantized = _quantize(onnx.load(ir), out, calibration, recipe, sorted(kept))
    restore(quantized.graph, original.graph, kept)
    layers = quantized_layers(quantized.graph)
    if not layers:
        raise ConversionError(
            "convert", str(ir), "no layer that was quantized", "at least one", "Deploy it in fp32."
        )
    OnnxModel.graph_topological_sort(quantized.graph, is_deterministic=True)  # pairs came last
    del quantized.graph.value_info[:]
    out.write_bytes(quantized.SerializeToString(deterministic=True))
    return Quantized(layers, kept)


def _quantize(
    model: Any, out: Path, calibration: CalibrationSet, recipe: QdqRecipe, excluded: list[str]
) -> Any:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # else it warns that fusions might be missed
    options = {
        "QDQKeepRemovableActivations": True,
        "OpTypesToExcludeOutputQuantization": [] if recipe.outputs_too else list(recipe.operators),
        **recipe.options,
    }
    activations = QuantType.QUInt8 if recipe.activations == "uint8" else QuantType.QInt8
    try:
        # calibrators print to standard output
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(
                model,
                out,
                _Reader(calibration, model.graph.input[0].name),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(recipe.operators),
                per_channel=True,
                activation_type=activations,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=excluded,
                extra_options=options,
            )
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            "convert", out.name, f"{type(error).__name__}: {error}", "a graph in int8",
            "Report this model with the operator that the message names.",
        ) from error  # fmt: skip
    return onnx.load(out)


class _Reader:
    """A `CalibrationDataReader` of ONNX Runtime, without importing it before it is needed."""

    def __init__(self, calibration: CalibrationSet, name: str) -> None:
        self._name = name
        self._inputs = watched(calibration, "measuring ranges")

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        array = next(self._inputs, None)
        return None if array is None else {self._name: array}

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return iter(self.get_next, None)


def restore(graph: Any, original: Any, names: Collection[str]) -> None:
    """Let the named nodes read what they read in the original graph, in place.

    Quantizers put a pair of nodes behind a tensor that one reader wants in int8 and let all its
    readers read the pair.

    Args:
        graph: The quantized graph; its nodes and tensors have kept their names.
        original: The graph before.
        names: Names of the nodes that stay in float32.
    """
    inputs = {node.name: list(node.input) for node in original.node if node.name in names}
    for node in graph.node:
        if node.name in inputs:
            del node.input[:]
            node.input.extend(inputs[node.name])
    there = {tensor.name for tensor in graph.initializer}
    wanted = {name for node in inputs.values() for name in node} - there
    graph.initializer.extend(t for t in original.initializer if t.name in wanted)
    _drop_unread_pairs(graph)


def _drop_unread_pairs(graph: Any) -> None:
    """Take out QuantizeLinear and DequantizeLinear nodes whose result nobody reads."""
    outputs = {value.name for value in graph.output}
    for operator in ("DequantizeLinear", "QuantizeLinear"):
        read = {name for node in graph.node for name in node.input} | outputs
        dead = [
            i
            for i, node in enumerate(graph.node)
            if node.op_type == operator and node.output[0] not in read
        ]
        for i in reversed(dead):
            del graph.node[i]
    read = {name for node in graph.node for name in node.input} | outputs
    for i in reversed(range(len(graph.initializer))):
        if graph.initializer[i].name not in read:
            del graph.initializer[i]


def quantized_layers(graph: Any) -> tuple[str, ...]:
    """Names of the weighted nodes whose weights and inputs went through int8."""
    view = graph_view(graph)
    return tuple(
        node.name
        for node in view.nodes
        if node.op_type in WEIGHTED and all(_dequantized(view, name) for name in node.input[:2])
    )


def _dequantized(view: GraphView, tensor: str) -> bool:
    maker = view.makers.get(tensor)
    return maker is not None and maker.op_type == "DequantizeLinear"
