"""PPLNN: the exported ONNX graph, in the operators that its engines have."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from posedeploy.config import DeployConfig
from posedeploy.convert.pplnn.operators import obstacles
from posedeploy.convert.pplnn.rewrites import rewrite, shapes
from posedeploy.convert.types import Converted, Declared
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import StoredPrecision, TensorInfo, backend_row


def convert(
    ir: Path,
    deploy_config: DeployConfig,
    work_dir: Path,
    calibration: CalibrationSet | None = None,
) -> Converted:
    """Rewrites the graph, and refuses it by name of what PPLNN cannot run.

    fp16 is the same file: PPLNN's CUDA engine rounds the weights when it loads them.  Nothing of
    PPLNN is needed to convert, so this works where it is not installed.
    """
    del calibration
    import onnx

    if deploy_config.dynamic_batch:
        raise ConversionError(
            "convert", str(deploy_config.path), "a dynamic batch", "a static deploy config",
            "The graph is rewritten for one shape: remove dynamic_axes.",
        )  # fmt: skip
    proto = onnx.load(ir)
    rewrite(proto)
    if found := obstacles(proto):
        raise ConversionError(
            "convert", str(ir), "; ".join(found), "operators of PPLNN's x86 engine",
            "Set onnx_config.opset_version to 13 if it is higher; else rewrite them in "
            "posedeploy/convert/pplnn/rewrites.py, or choose another backend.",
        )  # fmt: skip
    row = backend_row("pplnn")
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, work_dir / row.main_file)
    for extra in ir.parent.glob("*.npz"):  # weights that the host needs
        shutil.copyfile(extra, work_dir / extra.name)
    return Converted((row.main_file,), StoredPrecision(deploy_config.precision), _declared(proto))


def _declared(proto: Any) -> Declared:
    sizes = shapes(proto)
    inputs, outputs = (
        tuple(TensorInfo(v.name, sizes[v.name], "float32") for v in values)
        for values in (proto.graph.input, proto.graph.output)
    )
    return Declared(inputs, outputs)
