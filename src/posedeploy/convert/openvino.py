"""OpenVINO: the exported ONNX graph as OpenVINO's own pair of files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.errors import ConversionError
from posedeploy.runtime import backend_row

from .types import ONNX, Converted

# Names of floating-point weights in OpenVINO -> ours
_WEIGHTS = {"f32": "fp32", "f16": "fp16"}


class OpenVinoConverter:
    """Reads the ONNX file and writes `.xml` and `.bin`, weights as they are.

    `model_inputs.opt_shapes` of MMDeploy's configs is where the input size comes from; the batch
    is what `dynamic_axes` says.
    """

    precisions = ("fp32",)
    representation = ONNX
    tools: tuple[str, ...] = ()

    def convert(self, ir: Path, deploy_config: DeployConfig, work_dir: Path) -> Converted:
        del deploy_config
        import openvino as ov

        row = backend_row("openvino")
        target = work_dir / row.main_file
        try:
            model = ov.Core().read_model(ir)
            # its default rounds the weights to fp16
            ov.save_model(model, target, compress_to_fp16=False)
        except RuntimeError as error:
            raise ConversionError(
                "convert", str(ir), str(error), "a graph that OpenVINO reads",
                "Report this model with the operator that the message names.",
            ) from error  # fmt: skip
        return Converted((row.main_file, row.weights_file), weight_precision(model))


def weight_precision(model: Any) -> str:
    """'fp32' or 'fp16': the floating-point type that holds most of the weights."""
    sizes = dict.fromkeys(_WEIGHTS.values(), 0)
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            kind = node.get_output_element_type(0).get_type_name()
            if kind in _WEIGHTS:
                sizes[_WEIGHTS[kind]] += math.prod(node.get_output_shape(0))
    return max(sizes, key=lambda name: sizes[name])


CONVERTER = OpenVinoConverter()
