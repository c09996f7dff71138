"""int8 and float16 weights for LiteRT: ai-edge-quantizer on the float32 `.tflite` file.

The operators that stay in float32 are those of the parts in `float_layers`, found in a TensorFlow
Lite graph.  Ranges are measured here, from minimum to maximum: the quantizer's own calibration
averages them over the images, so that the largest values are cut off.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import DETECTION_OUTPUTS, LAST_LAYERS, LITEHRNET
from posedeploy.precision.qdq import Quantized
from posedeploy.runtime.litert import (
    SIGNATURE,
    Graph,
    native_log_dropped,
    open_tapped,
    read_graph,
)
from posedeploy.runtime.quantized.litert import quantized_layers

# Operators with learned weights.
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})
_DECODE, _NORMS, _SOFTMAX = "decode", "norms and divisions", "softmax"

# ---- modify this table to keep other operators in float32, wherever they are -------------------
KEPT_KINDS: Mapping[str, str] = {
    "ABS": _NORMS, "DIV": _NORMS, "MAXIMUM": _NORMS, "REDUCE_MAX": _NORMS, "RSQRT": _NORMS,
    "SOFTMAX": _SOFTMAX, "SQRT": _NORMS, "SQUARED_DIFFERENCE": _NORMS, "SUM": _NORMS,
}  # fmt: skip
# ------------------------------------------------------------------------------------------------


def quantize_litert(
    file: Path, out: Path, calibration: CalibrationSet, outputs: tuple[str, ...]
) -> Quantized:
    """Write the int8 form of a float32 file, with float32 inputs and outputs.

    Weights have a scale a channel, activations one each. Tensors keep their names. `outputs` are
    those of the graph: they tell detectors from top-down models.

    Raises:
        ConversionError: The quantizer refuses the file, or nothing in it could be quantized.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    graph = read_graph(file)
    kept = float_operators(graph, not DETECTION_OUTPUTS.isdisjoint(outputs))
    recipe, kinds = recipe_manager.RecipeManager(), qtyping.TFLOperationName
    every = kinds.ALL_SUPPORTED
    recipe.add_static_config(".*", every, activation_num_bits=8, weight_num_bits=8)
    names = [re.escape(graph.tensors[i].name) for n in kept for i in graph.operators[n].outputs]
    scopes = {".*": (kinds.INPUT, kinds.OUTPUT), f"^({'|'.join(names)});": (every,)}
    for scope, operators in scopes.items():
        for operator in operators if names or scope == ".*" else ():
            recipe.add_quantization_config(scope, operator, algorithm_key="no_quantize")
    _quantize(file, out, recipe, ranges(file, graph, calibration))
    written = read_graph(out)
    layers = tuple(written.tensors[o.outputs[0]].name for o in quantized_layers(written))
    if not layers:
        raise ConversionError(
            "convert", out.name, "no layer that was quantized", "at least one",
            "Deploy it in fp32.",
        )  # fmt: skip
    return Quantized(layers, {graph.tensors[graph.operators[n].outputs[0]].name: part
                              for n, part in kept.items()})  # fmt: skip


def halve_weights(file: Path, out: Path) -> None:
    """Write a float32 file with its weights in float16; what computes is float32.

    Raises:
        ConversionError: The quantizer refuses the file.
    """
    from ai_edge_quantizer import qtyping, recipe_manager

    recipe = recipe_manager.RecipeManager()
    half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
    recipe.add_quantization_config(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        qtyping.OpQuantizationConfig(
            weight_tensor_config=half, compute_precision=qtyping.ComputePrecision.FLOAT
        ),
        algorithm_key="float_casting",
    )
    _quantize(file, out, recipe, None)


def _quantize(file: Path, out: Path, recipe: Any, measured: Mapping[str, Any] | None) -> None:
    from ai_edge_quantizer import quantizer

    try:
        # it prints a summary, and warns of memory
        with (
            contextlib.redirect_stdout(io.StringIO()),
            native_log_dropped(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            it = quantizer.Quantizer(str(file))
            it.load_quantization_recipe(recipe.get_quantization_recipe())
            done = it.quantize(measured, enable_progress_bar=False, enable_progress_report=False)
        out.write_bytes(done.quantized_model)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            "convert", file.name, f"{type(error).__name__}: {error}",
            "a file that ai-edge-quantizer quantizes", "Report this model.",
        ) from error  # fmt: skip


def ranges(
    file: Path, graph: Graph, calibration: CalibrationSet
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Tensor name -> 'min' and 'max' over a set, for every computed float32 tensor of a file.

    One that is 0 on every image has the range of 0 to 1, which holds 0 as well as any other, for
    XNNPACK refuses scales of almost 0: a branch of LiteHRNet is dead. Infinities do not count:
    the padding in front of a maximum pool is -inf, and becomes the smallest step (MSPN).
    """
    interpreter = open_tapped(file)
    runner = interpreter.get_signature_runner(SIGNATURE)
    (name,) = runner.get_input_details()
    computed = {0, *(i for operator in graph.operators for i in operator.outputs)}
    watched = [i for i in sorted(computed) if graph.tensors[i].dtype == "FLOAT32"]
    low, high = dict.fromkeys(watched, np.inf), dict.fromkeys(watched, -np.inf)
    for array in calibration.with_progress("measuring ranges"):
        runner(**{name: array})
        for i in watched:
            values = interpreter.get_tensor(i)
            values = values[np.isfinite(values)]
            low[i] = values.min(initial=low[i])
            high[i] = values.max(initial=high[i])
    high |= {i: 1.0 for i in watched if low[i] == high[i] == 0}
    return {
        graph.tensors[i].name: {
            key: np.full([1] * len(graph.tensors[i].shape), value, np.float32)
            for key, value in (("min", low[i]), ("max", high[i]))
        }
        for i in watched
    }


def float_operators(graph: Graph, detector: bool) -> dict[int, str]:
    """Position of an operator -> the part because of which it stays in float32.

    Of top-down models these are the last weighted layers with all that follows, of detectors the
    last convolutions with the decode; then LiteHRNet's last depthwise convolution, and the kinds
    of `KEPT_KINDS`, with the products that a sum adds up.
    """
    makers = {i: n for n, operator in enumerate(graph.operators) for i in operator.outputs}
    kept: dict[int, str] = {}
    front = [makers[i] for i in graph.outputs]
    while front:
        position = front.pop()
        operator = graph.operators[position]
        last = "CONV" in operator.kind if detector else operator.kind in WEIGHTED
        if position not in kept:
            kept[position] = LAST_LAYERS if last else _DECODE
            depthwise = _depthwise_before(graph, makers, position) if last else None
            if depthwise is not None:
                kept[depthwise] = LITEHRNET
            front += [] if last else [makers[i] for i in operator.inputs if i in makers]
    for position, operator in enumerate(graph.operators):
        if operator.kind in KEPT_KINDS:
            kept.setdefault(position, KEPT_KINDS[operator.kind])
        summed = makers.get(operator.inputs[0], position) if operator.kind == "SUM" else position
        if summed != position and graph.operators[summed].kind == "MUL":
            kept.setdefault(summed, _NORMS)
    return kept


def _depthwise_before(graph: Graph, makers: Mapping[int, int], last: int) -> int | None:
    """LiteHRNet's last depthwise convolution: a pointwise one is between it and `last`."""
    before: int | None = None
    position: int | None = last
    for kind in ("CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D"):
        if position is None or graph.operators[position].kind != kind:
            return None
        before, position = position, makers.get(graph.operators[position].inputs[0])
    return before
