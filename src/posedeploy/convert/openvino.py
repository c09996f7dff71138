"""OpenVINO: the exported ONNX graph as OpenVINO's own pair of files.

fp16 stores the weights in float16; what is computed in is a question of its own and stays float32
unless the deploy config's `backend_config.inference_precision` is 'f16'.  The choice is written
into the `.xml` file, where the runtime reads it.  bf16 stores them in float32: the plugin rounds
them as it compiles the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, Declared, int8_recipe
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.openvino_int8 import quantize_openvino
from posedeploy.runtime import ComputePrecision, StoredPrecision, backend_row
from posedeploy.runtime.openvino import INFERENCE_PRECISION, shared_core, tensor_info

# Names of floating-point weights in OpenVINO -> ours
_WEIGHTS = {"f32": StoredPrecision.FP32, "f16": StoredPrecision.FP16}
# Precision of a deploy config -> what its `inference_precision` may be
_COMPUTES: Mapping[str, tuple[str, ...]] = {"bf16": ("bf16",)}
_STORED_COMPUTE = ("f32", "f16")


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Reads the ONNX file and writes `.xml` and `.bin`.

    `model_inputs.opt_shapes` of MMDeploy's configs is where the input size comes from; the batch
    is that of `dynamic_axes`.
    """
    import openvino as ov

    row, precision = backend_row("openvino"), deploy_config.precision
    target = folder / row.main_file
    recipe: Mapping[str, Any] = {}
    try:
        model = shared_core().read_model(ir)
        if precision == "int8":
            inputs = required(calibration, deploy_config.path)
            model, done = quantize_openvino(model, ir, inputs)
            name = "NNCF post-training quantization, per channel, min-max"
            recipe = int8_recipe(name, done, inputs)
        elif precision == "fp16":
            recipe = {"name": "weights compressed to float16"}
        _record_precision(model, deploy_config)
        # its default rounds the weights to fp16
        ov.save_model(model, target, compress_to_fp16=precision == "fp16")
        written = shared_core().read_model(target)
    except RuntimeError as error:
        raise ConversionError(
            "convert", str(ir), str(error), "a graph that OpenVINO reads",
            "Report this model with the operator that the message names.",
        ) from error  # fmt: skip
    # read, not compiled: what computes in f16 is converted on machines that do not
    declared = Declared(
        tuple(map(tensor_info, written.inputs)), tuple(map(tensor_info, written.outputs))
    )
    files = (row.main_file, row.weights_file)
    holds = ComputePrecision.BF16 if precision == "bf16" else weight_precision(written)
    return Converted(files, holds, declared, recipe)


def _record_precision(model: Any, deploy_config: DeployConfig) -> None:
    """Write what to compute in into the model, where the deploy config sets it."""
    asked = deploy_config.raw["backend_config"].get("inference_precision")
    if asked is None:
        return
    allowed = _COMPUTES.get(deploy_config.precision, _STORED_COMPUTE)
    if asked not in allowed:
        raise BadInputError(
            f"{deploy_config.path}: backend_config.inference_precision", repr(asked),
            f"one of {', '.join(allowed)} at precision {deploy_config.precision}",
            "Change the field.",
        )  # fmt: skip
    model.set_rt_info(asked, list(INFERENCE_PRECISION))


def weight_precision(model: Any) -> StoredPrecision:
    """'int8' if anything is quantized, else 'fp32' or 'fp16': what holds most of the weights."""
    sizes = dict.fromkeys(_WEIGHTS.values(), 0)
    for node in model.get_ops():
        if node.get_type_name() == "FakeQuantize":
            return StoredPrecision.INT8
        if node.get_type_name() == "Constant":
            kind = node.get_output_element_type(0).get_type_name()
            if kind in _WEIGHTS:
                sizes[_WEIGHTS[kind]] += math.prod(node.get_output_shape(0))
    return max(sizes, key=lambda name: sizes[name])
