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
from posedeploy.precision.float_layers import WEIGHTED, float_nodes
from posedeploy.precision.outliers import outlier_nodes


@dataclass(frozen=True)
class QdqRecipe:
    """The QuantizeLinear and DequantizeLinear nodes that a backend expects."""

    activations: str  # 'uint8' or 'int8'
    operators: tuple[str, ...]  # that are quantized
    outputs_too: bool  # quantizes their outputs as well as their inputs
    options: Mapping[str, Any] = field(default_factory=dict)  # ORT's `extra_options`


# Operators between weighted layers that ONNX Runtime's CPU kernels run on int8: a chain of them
# stays in int8.
BETWEEN = (
    "Add", "AveragePool", "Clip", "Concat", "GlobalAveragePool", "MaxPool", "Mul", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip

# ---- modify this table to add a backend ------------------------------------------------------
RECIPES: Mapping[str, QdqRecipe] = {
    # Unsigned activations and signed weights run about twice as fast as signed ones on x86.
    "onnxruntime": QdqRecipe("uint8", (*WEIGHTED, *BETWEEN), outputs_too=True),
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
    """Names of the quantized layers, and name -> part of the layers that stayed float32."""

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

    Nodes and tensors keep their names. A node that stays in float32 reads its inputs unrounded.
    `keep` names these nodes; None takes those of `int8_float_nodes`.

    Raises:
        ConversionError: ONNX Runtime refuses the graph, or nothing in it could be quantized.
    """
    import onnx
    from onnxruntime.transformers.onnx_model import OnnxModel

    original = onnx.load(ir)
    kept = int8_float_nodes(original, calibration, recipe.operators, keep)
    quantized = _quantize(onnx.load(ir), out, calibration, recipe, sorted(kept))
    _restore(quantized.graph, original.graph, kept)
    OnnxModel(quantized).prune_graph(allow_remove_graph_inputs=False)  # pairs without a reader
    layers = quantized_layers(quantized.graph)
    if not layers:
        raise ConversionError(
            "convert", str(ir), "no layer that was quantized", "at least one", "Deploy it in fp32."
        )
    # the quantizer appends its pairs at the end
    OnnxModel.graph_topological_sort(quantized.graph, is_deterministic=True)
    del quantized.graph.value_info[:]
    out.write_bytes(quantized.SerializeToString(deterministic=True))
    return Quantized(layers, kept)


def int8_float_nodes(
    model: Any,
    calibration: CalibrationSet,
    operators: Collection[str],
    keep: Collection[str] | None = None,
) -> dict[str, str]:
    """Node name -> the part it belongs to, for the nodes of a graph that int8 leaves in float32.

    These are the parts of `FLOAT_PARTS`, and nodes beside tensors with outliers; or those that
    `keep` names.
    """
    kept = float_nodes(model.graph, "int8", keep)
    return kept if keep is not None else outlier_nodes(model, calibration, operators) | kept


def _quantize(
    model: Any, out: Path, calibration: CalibrationSet, recipe: QdqRecipe, excluded: list[str]
) -> Any:
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    add_pre_process_metadata(model)  # without it there is a warning that fusions might be missed
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
    """A `CalibrationDataReader` of ONNX Runtime, by its methods: its class is not imported."""

    def __init__(self, calibration: CalibrationSet, name: str) -> None:
        self._name = name
        self._inputs = calibration.with_progress("measuring ranges")

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        array = next(self._inputs, None)
        return None if array is None else {self._name: array}

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        return iter(self.get_next, None)


def _restore(graph: Any, original: Any, names: Collection[str]) -> None:
    """Let the named nodes read what they read in the original graph, in place.

    A quantizer puts a pair of nodes after a tensor that one reader needs in int8, and lets all
    readers of the tensor read the pair.
    """
    inputs = {node.name: list(node.input) for node in original.node if node.name in names}
    for node in graph.node:
        if node.name in inputs:
            node.input[:] = inputs[node.name]
    present = {tensor.name for tensor in graph.initializer}
    wanted = {name for node in inputs.values() for name in node} - present
    graph.initializer.extend(t for t in original.initializer if t.name in wanted)


def quantized_layers(graph: Any) -> tuple[str, ...]:
    """Names of the weighted nodes whose weights and inputs went through int8."""
    dequantized = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    return tuple(
        node.name
        for node in graph.node
        if node.op_type in WEIGHTED and dequantized.issuperset(node.input[:2])
    )
