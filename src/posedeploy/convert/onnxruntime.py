"""ONNX Runtime runs the exported graph as it is; fp16 and int8 rewrite it first."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, int8_recipe
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.float_layers import parts
from posedeploy.precision.fp16 import to_fp16
from posedeploy.precision.qdq import RECIPES, quantize_onnx
from posedeploy.runtime import StoredPrecision

# Arguments of the fp16 conversion that a deploy config may set, by the names MMDeploy gives them.
_FP16_ARGUMENTS = (
    "min_positive_val", "max_finite_val", "keep_io_types", "disable_shape_infer",
    "op_block_list", "node_block_list",
)  # fmt: skip


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """fp32: a copy. fp16: with the arguments in `common_config`. int8: QDQ, per channel, U8S8."""
    target = folder / deploy_config.save_file
    recipe: Mapping[str, Any] = {}
    if deploy_config.precision == "fp16":
        common = deploy_config.raw["backend_config"].get("common_config") or {}
        arguments = {name: common[name] for name in _FP16_ARGUMENTS if name in common}
        if deploy_config.export_postprocess and arguments.get("keep_io_types") is False:
            # px: above 1024 float16 has no fractions
            arguments["keep_io_types"] = list(deploy_config.output_names)
        kept = to_fp16(ir, target, **arguments)
        recipe = {"name": "onnxruntime.transformers.float16", "kept": parts(kept)}
    elif deploy_config.precision == "int8":
        inputs = required(calibration, deploy_config.path)
        done = quantize_onnx(ir, target, inputs, RECIPES["onnxruntime"])
        name = "onnxruntime static QDQ, per channel, U8S8, min-max"
        recipe = int8_recipe(name, done, inputs)
    elif ir != target:
        shutil.copyfile(ir, target)
    return Converted((target.name,), weight_precision(target), recipe=recipe)


def weight_precision(path: Path) -> StoredPrecision:
    """'int8' for graphs in QDQ form, else 'fp32' or 'fp16': what holds most of the weights."""
    import onnx

    model = onnx.load(path)
    sizes: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += math.prod(tensor.dims)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return StoredPrecision.INT8
    half = sizes[onnx.TensorProto.FLOAT16] > sizes[onnx.TensorProto.FLOAT]
    return StoredPrecision.FP16 if half else StoredPrecision.FP32
