"""The ONNX graph that TensorRT builds: its types decide what is computed in which precision.

fp16 is a graph of both types with float32 at its ends; int8 has explicit pairs of QuantizeLinear
and DequantizeLinear around its layers, with zero points of 0.  Either runs on ONNX Runtime as it
is, so it can be judged where no GPU is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.types import int8_recipe
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.float_layers import parts
from posedeploy.precision.fp16 import to_fp16
from posedeploy.precision.qdq import RECIPES, quantize_onnx

# What TensorRT's ONNX parser reads from 10.0 on (onnx-tensorrt, docs/operators.md).
OPSETS = range(9, 21)
# ITopKLayer's largest k, in every version (TensorRT's C++ API reference).
MAX_TOP_K = 3840
TYPED_FILE = "typed.onnx"


def typed_graph(
    ir: Path,
    deploy_config: DeployConfig,
    folder: Path,
    calibration: CalibrationSet | None = None,
    *,
    strongly_typed: bool = True,
) -> tuple[Path, Mapping[str, Any]]:
    """The graph for a deploy config's precision, and how that was lowered, for `detail.json`.

    Args:
        ir: The exported graph, float32.
        deploy_config: Has the precision.
        folder: Where a graph of other types is written.
        calibration: What int8's ranges are measured on.
        strongly_typed: False for a TensorRT that takes fp16 from a builder flag; int8 is
            explicit everywhere.

    Raises:
        ConversionError: The graph cannot be had in this precision, or TensorRT does not take it.
    """
    target = folder / TYPED_FILE
    recipe: Mapping[str, Any] = {}
    if deploy_config.precision == "int8":
        measured = required(calibration, deploy_config.path)
        done = quantize_onnx(ir, target, measured, RECIPES["tensorrt"])
        recipe = int8_recipe("explicit QDQ, per channel, S8S8, min-max", done, measured)
    elif deploy_config.precision == "fp16" and strongly_typed:
        kept = to_fp16(ir, target)
        recipe = {"name": "mixed-precision graph, float32 ends", "kept": parts(kept)}
    else:
        target = ir
        if deploy_config.precision == "fp16":
            recipe = {"name": "builder flag FP16: TensorRT chooses layer by layer"}
    check(target)
    return target, recipe


def check(path: Path) -> None:
    """Refuse a graph that TensorRT's parser refuses for certain, before a device is used.

    Raises:
        ConversionError: With everything that is in the way.
    """
    import onnx

    if reasons := list(obstacles(onnx.load(path))):
        raise ConversionError(
            "convert", str(path), "; ".join(reasons), "a graph that TensorRT reads",
            "Change the deploy config: opset_version, or pre_top_k and keep_top_k.",
        )  # fmt: skip


def obstacles(model: Any) -> Iterator[str]:
    """A sentence for each thing in a graph that TensorRT does not take."""
    from onnx import TensorProto, numpy_helper

    for entry in model.opset_import:
        if entry.domain not in {"", "ai.onnx"}:
            yield f"operators of {entry.domain}, which would need a plugin"
        elif entry.version not in OPSETS:
            yield f"opset {entry.version}; TensorRT reads {OPSETS[0]} to {OPSETS[-1]}"
    constants = {
        tensor.name: int(numpy_helper.to_array(tensor).reshape(-1)[0])
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.INT64 and math.prod(tensor.dims) == 1
    }
    for node in model.graph.node:
        count = constants.get(node.input[1], 0) if node.op_type == "TopK" else 0
        if count > MAX_TOP_K:
            yield f"{node.name} takes the {count} best; TensorRT's TopK takes {MAX_TOP_K} at most"


def graph_inputs(path: Path) -> Mapping[str, tuple[int | str, ...]]:
    """Name -> shape of the graph's inputs, with a name in place of a dynamic dimension."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    return {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
            for dim in value.type.tensor_type.shape.dim
        )
        for value in graph.input
    }
