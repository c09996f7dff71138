"""ONNX Runtime runs the exported graph as it is; fp16 rewrites it first."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.errors import ConversionError

from .types import ONNX, Converted

# The recipe's arguments that a deploy config may set, by the names MMDeploy gives them.
_FP16_ARGUMENTS = (
    "min_positive_val", "max_finite_val", "keep_io_types", "disable_shape_infer",
    "op_block_list", "node_block_list",
)  # fmt: skip


class OnnxRuntimeConverter:
    """fp32: a copy. fp16: `onnxruntime.transformers.float16`, as `common_config` says."""

    precisions = ("fp32", "fp16")
    representation = ONNX
    tools: tuple[str, ...] = ()

    def convert(self, ir: Path, deploy_config: DeployConfig, work_dir: Path) -> Converted:
        target = work_dir / deploy_config.save_file
        if deploy_config.precision == "fp16":
            common = deploy_config.raw["backend_config"].get("common_config") or {}
            _write_fp16(ir, target, common)
        elif ir != target:
            shutil.copyfile(ir, target)
        return Converted((target.name,), weight_precision(target))


def _write_fp16(ir: Path, target: Path, common: Mapping[str, Any]) -> None:
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.load(ir)
    # Stale shapes of intermediate values make the conversion name two casts alike.
    del model.graph.value_info[:]
    arguments = {name: common[name] for name in _FP16_ARGUMENTS if name in common}
    try:
        onnx.save(convert_float_to_float16(model, **arguments), target)
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            "convert", str(ir), f"{type(error).__name__}: {error}", "a graph in fp16",
            "Name the node or operator in node_block_list or op_block_list of common_config.",
        ) from error  # fmt: skip


def weight_precision(path: Path) -> str:
    """'fp32', 'fp16' or 'int8': the type that holds most of the graph's weights.

    Graphs in QDQ form are int8 as soon as a weight is stored so.
    """
    import onnx

    model = onnx.load(path)
    sizes: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        count = 1
        for dim in tensor.dims:
            count *= dim
        sizes[tensor.data_type] += count
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    kinds = onnx.TensorProto
    return "fp16" if sizes[kinds.FLOAT16] > sizes[kinds.FLOAT] else "fp32"


CONVERTER = OnnxRuntimeConverter()
