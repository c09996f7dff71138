"""CoreML: an exported program through coremltools, on Linux as on macOS.

The precision is always set: coremltools' own default for an mlprogram is fp16.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, Declared, refuse_dynamic_batch
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import StoredPrecision, backend_row
from posedeploy.runtime.coreml import declared, import_coremltools, read_spec
from posedeploy.runtime.torchscript import SIGNATURE, read_signature

PRECISIONS = {"fp32": "FLOAT32", "fp16": "FLOAT16"}  # ours -> names of coremltools.precision
DEFAULT_TARGET = "iOS16"  # the first whose inputs and outputs may be float16
# MIL's names of element types of weights, in the protobuf's numbers (MIL.proto, DataType)
_FLOAT16, _FLOAT32 = 10, 11


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """An exported program to an `.mlpackage`; inputs and outputs are float32 at any precision.

    Fields of `backend_config`, by MMDeploy's names: `convert_to` ('mlprogram' alone) and
    `minimum_deployment_target` (a name of coremltools.target).
    """
    del calibration  # there is no int8 recipe
    import torch

    ct = import_coremltools()
    extra = {SIGNATURE: ""}
    program = torch.export.load(ir, extra_files=extra)
    inputs, outputs = read_signature(extra[SIGNATURE])
    refuse_dynamic_batch(deploy_config, "Packages for CoreML hold one image here", inputs)
    settings = _settings(ct, deploy_config)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")  # and no progress bars: there is no switch for them
            # coremltools converts core ATen only. Loading a program adds a node for each unused
            # result, which coremltools refuses; decomposing drops them. It knows no alias either.
            model = ct.convert(
                program.run_decompositions({torch.ops.aten.alias.default: lambda tensor: tensor}),
                inputs=[ct.TensorType(i.name, i.shape, np.float32) for i in inputs],
                outputs=[ct.TensorType(name=i.name, dtype=np.float32) for i in outputs],
                skip_model_load=True,
                **settings,
            )
    except (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError) as error:
        # what coremltools raises for operators that it does not convert; the rest is a bug
        raise ConversionError(
            "convert", str(ir), str(error).strip().split("\n", 1)[0] or type(error).__name__,
            "a program that coremltools converts", "Report this model with the operator named.",
        ) from error  # fmt: skip
    target = folder / backend_row("coreml").main_file
    model.save(str(target))
    spec = read_spec(target)
    return Converted((target.name,), weight_precision(spec), Declared(*declared(spec)))


def _settings(ct: Any, deploy_config: DeployConfig) -> dict[str, Any]:
    """Arguments of `coremltools.convert` that the deploy config decides."""
    section = deploy_config.raw["backend_config"]
    form = str(section.get("convert_to", "mlprogram"))
    if form != "mlprogram":
        raise BadInputError(
            f"{deploy_config.path}: backend_config.convert_to", repr(form), "'mlprogram'",
            "Older neural networks have no precision of their own; change the field.",
        )  # fmt: skip
    name = str(section.get("minimum_deployment_target", DEFAULT_TARGET))
    if not hasattr(ct.target, name):
        names = ", ".join(word for word in vars(ct.target) if word.startswith(("iOS", "macOS")))
        raise BadInputError(
            f"{deploy_config.path}: backend_config.minimum_deployment_target", repr(name),
            f"one of {names}", "Change the field.",
        )  # fmt: skip
    precision = getattr(ct.precision, PRECISIONS[deploy_config.precision])
    if deploy_config.export_postprocess and deploy_config.precision == "fp16":
        precision = ct.transform.FP16ComputePrecision(lambda op: not _counts(op))
    return {
        "convert_to": form,
        "minimum_deployment_target": getattr(ct.target, name),
        "compute_precision": precision,
    }


def _counts(operation: Any) -> bool:
    """True for what is computed of a maximum's place: float16 holds no odd integer above 2048."""
    front, seen = [operation], set()
    while front:
        given = front.pop().inputs.values()
        values = [v for g in given for v in (g if isinstance(g, list | tuple) else [g])]
        makers = [v.op for v in values if v is not None and v.op is not None]
        if any(maker.op_type == "reduce_argmax" for maker in makers):
            return True
        front += [maker for maker in makers if maker not in seen]
        seen.update(makers)
    return False


def weight_precision(spec: Any) -> StoredPrecision:
    """'fp32' or 'fp16': the type that holds most of a package's floating-point constants."""
    sizes: Counter[int] = Counter()
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            for operation in block.operations:
                if operation.type == "const":
                    kind = operation.outputs[0].type.tensorType
                    count = math.prod(size.constant.size for size in kind.dimensions)
                    sizes[kind.dataType] += count
    half = sizes[_FLOAT16] > sizes[_FLOAT32]
    return StoredPrecision.FP16 if half else StoredPrecision.FP32
