"""ncnn: a traced module through pnnx, believed only after it was run."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.config import DeployConfig
from posedeploy.convert.pnnx import run_pnnx
from posedeploy.convert.types import Converted
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet, required
from posedeploy.precision.float_layers import parts
from posedeploy.precision.ncnn_files import read_param
from posedeploy.precision.ncnn_int8 import quantize_ncnn
from posedeploy.runtime import SessionOptions, StoredPrecision, backend_row, get_runtime
from posedeploy.runtime.ncnn import is_quantized
from posedeploy.runtime.torchscript import SIGNATURE

# Parameter of a layer that holds how many weights it has (ncnn's operators.md)
_WEIGHT_COUNT = {"Convolution": 6, "ConvolutionDepthWise": 6, "Deconvolution": 6,
                 "DeconvolutionDepthWise": 6, "InnerProduct": 2}  # fmt: skip
_NO_PARAMETER = -1
# Largest difference from the traced module, as a fraction of an output's largest value: honest
# float32 stays below 1e-5, and fp16 below 2e-2 on calibrated weights but at .16 on RTMPose's
# fitted ones, which know no noise; a layer that pnnx got wrong is off by its size.
# In int8 the numbers are the judge's business; here only names, shapes and finiteness.
_AGREEMENT = {"fp32": 1e-3, "fp16": 0.5, "int8": math.inf}


def convert(
    ir: Path,
    deploy_config: DeployConfig,
    work_dir: Path,
    calibration: CalibrationSet | None = None,
) -> Converted:
    """Traced module to `.param` and `.bin`; fp16 is off unless the deploy config asks for it.

    int8 starts from the float32 files, which are checked before they are quantized.
    """
    row = backend_row("ncnn")
    signature = read_signature(ir)
    inputs, outputs = signature["inputs"], signature["outputs"]
    shape = tuple(inputs[0]["shape"])
    if not isinstance(shape[0], int):
        raise ConversionError(
            "convert", str(deploy_config.path), "a dynamic batch", "a static deploy config",
            "ncnn runs one image at a time: remove dynamic_axes.",
        )  # fmt: skip
    fp16 = deploy_config.precision == "fp16"
    files = (work_dir / row.main_file, work_dir / row.weights_file)
    with tempfile.TemporaryDirectory(prefix="pnnx-") as scratch:
        written = run_pnnx(ir, shape, fp16, Path(scratch))
        names = [str(info["name"]) for info in outputs]
        text = named(written.param, str(inputs[0]["name"]), names, shape)
        files[0].write_text(text, encoding="utf-8")
        shutil.copyfile(written.weights, files[1])
    for extra in ir.parent.glob("*.npz"):  # weights that the host needs
        shutil.copyfile(extra, work_dir / extra.name)
    recipe: Mapping[str, Any] = {"name": "pnnx, weights in float16"} if fp16 else {}
    check_numbers(ir, files, shape, weight_precision(*files))
    if deploy_config.precision == "int8":
        recipe = _int8(files, required(calibration, deploy_config.path))
        check_numbers(ir, files, shape, "int8")
    written_files = (row.main_file, row.weights_file)
    return Converted(written_files, weight_precision(*files), recipe=recipe)


def _int8(files: tuple[Path, Path], calibration: CalibrationSet) -> Mapping[str, Any]:
    """Quantize the files in place."""
    with tempfile.TemporaryDirectory(prefix="ncnn-") as scratch:
        floats = (Path(scratch) / files[0].name, Path(scratch) / files[1].name)
        for path, copy in zip(files, floats, strict=True):
            shutil.copyfile(path, copy)
        done = quantize_ncnn(floats, files, calibration)
    return {
        "name": "ncnn scales, per channel, min-max",
        "kept": parts(done.kept),
        "quantized_layers": len(done.layers),
        "calibration": calibration.facts(),
    }


def read_signature(traced: Path) -> dict[str, Any]:
    """Names and shapes of inputs and outputs that the exporter wrote into the archive.

    Raises:
        ConversionError: The file has none.
    """
    with zipfile.ZipFile(traced) as archive:
        for name in archive.namelist():
            if name.endswith(f"extra/{SIGNATURE}"):
                found: dict[str, Any] = json.loads(archive.read(name))
                return found
    raise ConversionError(
        "convert", str(traced), f"no {SIGNATURE} in the archive", "a module traced by posedeploy",
        "Export the model again.",
    )  # fmt: skip


def named(param: str, given: str, outputs: list[str], shape: tuple[int, ...]) -> str:
    """A `.param` file with the contract's names, and the input's size in its Input layer.

    pnnx calls tensors in0, out0, out1, …; the sizes are parameters 0, 1, 2: width, height,
    channels.
    """
    words = {"in0": given} | {f"out{i}": name for i, name in enumerate(outputs)}
    _, channels, height, width = shape
    lines = param.splitlines()
    for i, line in enumerate(lines[2:], start=2):
        parts = line.split()
        if not parts:
            continue
        ends = 4 + int(parts[2]) + int(parts[3])
        tensors = [words.get(name, name) for name in parts[4:ends]]
        sizes = [f"0={width}", f"1={height}", f"2={channels}"] if parts[0] == "Input" else []
        lines[i] = " ".join([*parts[:4], *tensors, *parts[ends:], *sizes])
    return "\n".join(lines) + "\n"


def weight_precision(param: Path, weights: Path) -> StoredPrecision:
    """'int8' if any layer is quantized; else by the size of the weights and their number."""
    if is_quantized(param):
        return StoredPrecision.INT8
    layers = read_param(param)
    count = sum(layer.number(_WEIGHT_COUNT.get(layer.type, _NO_PARAMETER)) for layer in layers)
    whole = weights.stat().st_size >= 4 * count
    return StoredPrecision.FP32 if whole else StoredPrecision.FP16


def check_numbers(
    traced: Path, files: Sequence[Path], shape: tuple[int, ...], precision: str
) -> None:
    """Run both on noise: some layers pnnx converts without a word, and wrongly.

    Raises:
        ConversionError: ncnn refuses the files or computes something else.
    """
    noise = np.random.default_rng(0).random(shape, np.float32)
    try:
        session = get_runtime("ncnn").load(files, "cpu", SessionOptions(precision))
        got = session.run({session.inputs[0].name: noise})
    except RuntimeError as error:
        raise ConversionError(
            "convert", files[0].name, str(error), "files that ncnn runs",
            "Rewrite the layer in posedeploy/export/ncnn_rewrites.py.",
        ) from error  # fmt: skip
    original = get_runtime("torchscript").load([traced], "cpu", SessionOptions(threads=0))
    wrong = differences(got, original.run({original.inputs[0].name: noise}), _AGREEMENT[precision])
    if wrong:
        raise ConversionError(
            "convert", files[0].name, "; ".join(wrong), "what the traced module computes",
            "pnnx has converted a layer wrongly (F.normalize is known for it): rewrite it in "
            "posedeploy/export/ncnn_rewrites.py.",
        )  # fmt: skip


def differences(
    got: Mapping[str, np.ndarray[Any, Any]],
    truth: Mapping[str, np.ndarray[Any, Any]],
    limit: float,
) -> list[str]:
    """A sentence for each output that is missing, of another shape, or off."""
    found = []
    for name, expected in truth.items():
        actual = got.get(name)
        if actual is None or actual.shape != expected.shape:
            shape = "nothing" if actual is None else f"shape {list(actual.shape)}"
            found.append(f"{name}: {shape} instead of shape {list(expected.shape)}")
            continue
        error = float(np.abs(actual - expected).max(initial=0.0))
        size = float(np.abs(expected).max(initial=0.0))
        if not error <= limit * max(size, math.ulp(1.0)):
            found.append(f"{name}: off by {error:.3g} where the largest value is {size:.3g}")
    return found
