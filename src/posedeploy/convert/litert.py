"""LiteRT: an exported program through litert-torch, as a `.tflite` file with our names.

The file's signature is 'serving_default', which clients find inputs and outputs by; tensors have
other names.  Images are NCHW as in PyTorch: the graph begins with a transposition.
"""

from __future__ import annotations

import math
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, Declared, int8_recipe, refuse_dynamic_batch
from posedeploy.errors import ConversionError
from posedeploy.paths import scratch_folder
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.litert_int8 import halve_weights, quantize_litert
from posedeploy.runtime import SessionOptions, StoredPrecision, backend_row, get_runtime
from posedeploy.runtime.litert import read_graph
from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program
from posedeploy.runtime.torchscript import SIGNATURE

LIMIT = Limit(3600.0)  # of CPU: the slowest model here, HRNet, takes 300 s
_SCRIPT = Path(__file__).with_name("litert_child.py")
_REFUSED = re.compile(r"^refused: (.*)$", re.MULTILINE)  # of the script
# Types of constants in `.tflite` files -> what is stored
_WEIGHTS = {
    "FLOAT16": StoredPrecision.FP16, "FLOAT32": StoredPrecision.FP32, "INT8": StoredPrecision.INT8,
}  # fmt: skip


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """An exported program to a `.tflite` file; inputs and outputs are float32 at any precision.

    int8 and float16 weights start from the float32 file.
    """
    refuse_dynamic_batch(deploy_config, "Files for LiteRT hold one image here")
    target = folder / backend_row("litert").main_file
    recipe: Mapping[str, Any] = {}
    with scratch_folder("litert") as scratch:
        whole = scratch / target.name
        run_litert_torch(ir, whole)
        if deploy_config.precision == "int8":
            inputs = required(calibration, deploy_config.path)
            done = quantize_litert(whole, target, inputs, deploy_config.output_names)
            recipe = int8_recipe("ai-edge-quantizer, static, per channel, min-max", done, inputs)
        elif deploy_config.precision == "fp16":
            halve_weights(whole, target)
            recipe = {"name": "ai-edge-quantizer, weights in float16"}
        else:
            shutil.copyfile(whole, target)
    precision = weight_precision(target)
    return Converted((target.name,), precision, run_once(target, precision), recipe)


def run_litert_torch(ir: Path, target: Path, limit: Limit = LIMIT) -> None:
    """Write the float32 file; ConversionError with litert-torch's message if it refuses."""
    command = [sys.executable, "-P", str(_SCRIPT), str(ir), str(target), SIGNATURE]
    try:
        done = run_program(command, limit)
    except OutOfTimeError as error:
        raise _refused(ir, f"litert-torch did not end: {error}") from error
    if done.status != 0 or not target.is_file():
        errors = _REFUSED.findall(done.stderr) or done.stderr.strip().splitlines()
        last = (errors or ["nothing was printed"])[-1]
        raise _refused(ir, f"litert-torch ended with status {done.status}: {last}")


def _refused(ir: Path, reason: str) -> ConversionError:
    return ConversionError(
        "convert", str(ir), reason, "a program that litert-torch converts",
        "Deploy this model on another backend, and report it with its config.",
    )  # fmt: skip


def run_once(file: Path, precision: str) -> Declared:
    """What a file declares; ConversionError if it does not run on an image of zeros.

    Neither litert-torch nor the quantizer runs what it writes.
    """
    try:
        session = get_runtime("litert").load([file], "cpu", SessionOptions(precision))
        session.run({i.name: np.zeros([int(n) for n in i.shape], i.dtype) for i in session.inputs})
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            "convert", file.name, str(error), "a file that LiteRT runs",
            "Deploy this model in another precision or on another backend, and report it.",
        ) from error  # fmt: skip
    return Declared(session.inputs, session.outputs)


def weight_precision(file: Path) -> StoredPrecision:
    """The type that most of a file's constants have, by their number."""
    counts: Counter[StoredPrecision] = Counter()
    for tensor in read_graph(file).tensors:
        if tensor.stored and tensor.dtype in _WEIGHTS:
            counts[_WEIGHTS[tensor.dtype]] += math.prod(tensor.shape)
    return max(counts, key=lambda precision: counts[precision], default=StoredPrecision.FP32)
