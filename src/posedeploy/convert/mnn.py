"""MNN: the exported ONNX graph through MNN's converter, in a child process without a network.

The converter is the extension `_tools` of MNN's wheel.  The wheel's console scripts, `mnnconvert`
and `mnnquant`, and the modules of `MNN.tools` behind them wrap it, and are never used: on import
they run `pip install` for a package of telemetry, and afterwards they upload what was converted.

The converter ends with status 0 whatever happens, and may write a file without a graph.  So its
file is loaded, run and compared with the ONNX graph before it is accepted.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.config import DeployConfig
from posedeploy.convert.agreement import AGREEMENT, differences, uniform_noise
from posedeploy.convert.types import Converted, Declared, refuse_dynamic_batch
from posedeploy.errors import ConversionError
from posedeploy.paths import scratch_folder
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import float_nodes, parts
from posedeploy.runtime import (
    Session,
    SessionOptions,
    StoredPrecision,
    backend_row,
    get_runtime,
)
from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program
from posedeploy.runtime.quantized.mnn_file import read_convolutions

LIMIT = Limit(600.0)  # of CPU: the slowest model here takes 10 s
# Arguments of the converter. By default it replaces GELU by an approximation with tanh, which
# costs RTMO ten times the error of float32.
EXACT = ("--useGeluApproximation", "0", "--bizCode", "posedeploy")
FP16_RECIPE = {"name": "weights in float16, computed in float32"}
INT8_RECIPE = {"name": "weights in int8, per channel, symmetric; computed in float32"}
_BIASED = frozenset({"Conv", "ConvTranspose", "Gemm"})  # their third input is a bias
_LINEAR = "__matmul_converted"  # what MNN adds to the name of a linear layer
# Run by Python with the converter's arguments. CLONE_NEWNET, with CLONE_NEWUSER for who may not
# have it alone (linux/sched.h); where neither is allowed, the converter runs with a network, which
# it does not use.
CHILD = """
import ctypes, sys
if sys.platform == "linux":
    libc = ctypes.CDLL(None)
    if libc.unshare(0x40000000) != 0:
        libc.unshare(0x50000000)
import _tools
_tools.mnnconvert(["mnnconvert", *sys.argv[1:]])
"""


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """One `.mnn` file. int8 is of the weights alone, so nothing is calibrated.

    Raises:
        ConversionError: The batch is dynamic, MNN refused the graph, or what it wrote is not it.
    """
    del calibration
    row, precision = backend_row("mnn"), deploy_config.precision
    refuse_dynamic_batch(deploy_config, "Files for MNN are converted from a graph of one image")
    target = folder / row.main_file
    with scratch_folder("mnn") as scratch:
        log, recipe = _WRITERS[precision](ir, target, scratch)
    session = check_file(ir, target, precision, log)
    declared = Declared(session.inputs, session.outputs)
    return Converted((target.name,), weight_precision(target), declared, recipe)


def write_fp32(ir: Path, target: Path, scratch: Path) -> tuple[str, Mapping[str, Any]]:
    """Convert as it is; returns what the converter printed, and a recipe, as the others do."""
    del scratch
    return run_converter(ir, target), {}


def write_fp16(ir: Path, target: Path, scratch: Path) -> tuple[str, Mapping[str, Any]]:
    """Convert with weights in float16, rounded to the nearest before.

    MNN 3.6.1 cuts off the digits that float16 lacks, always towards zero: SimCC's outputs then
    have 47 dB over their noise instead of 76.
    """
    import onnx
    from onnx import numpy_helper

    proto = onnx.load(ir)
    biases = {
        name for node in proto.graph.node if node.op_type in _BIASED for name in node.input[2:]
    }
    limit = float(np.finfo(np.float16).max)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in biases:
            rounded = numpy_helper.to_array(tensor).clip(-limit, limit).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(rounded.astype(np.float32), tensor.name))
    onnx.save(proto, scratch / ir.name)
    return run_converter(scratch / ir.name, target, ("--fp16",)), FP16_RECIPE


def write_int8(ir: Path, target: Path, scratch: Path) -> tuple[str, Mapping[str, Any]]:
    """Convert with weights in int8, but for the layers of `FLOAT_PARTS`.

    MNN reads from a file which layers to quantize, by the names of its own convolutions, linear
    layers among them, so these are read from a float32 file.  Its argument `--weightQuantBits`
    takes every layer, and `--weightQuantAsymmetric` means the opposite of its name in 3.6.1.
    """
    import onnx

    exact, layers = scratch / "float32.mnn", scratch / "layers.json"
    log = run_converter(ir, exact)
    check_file(ir, exact, "fp32", log)
    graph = onnx.load(ir).graph
    kept_nodes = float_nodes(graph, "int8")
    kept = {node.output[0]: kept_nodes.get(node.name) for node in graph.node}
    names = [layer.name for layer in read_convolutions(exact)]
    part_of = {name: kept.get(name.removesuffix(_LINEAR)) for name in names}
    quantized = [name for name, part in part_of.items() if part is None]
    weights = {"bits": 8, "asymmetric": False, "blockSize": -1}
    rows = [{"opName": name, "weight": [{"name": name, **weights}]} for name in quantized]
    algorithm = {"type": "QUANTIZE", "quantParams": {"layer": rows}}
    layers.write_text(json.dumps({"version": "0.0.0", "algo": [algorithm]}), encoding="utf-8")
    recipe = {
        **INT8_RECIPE,
        "kept": parts({name: part for name, part in part_of.items() if part is not None}),
        "quantized_layers": len(quantized),
    }
    return run_converter(ir, target, ("--compressionParamsFile", str(layers))), recipe


_WRITERS: Mapping[str, Callable[[Path, Path, Path], tuple[str, Mapping[str, Any]]]] = {
    "fp16": write_fp16, "fp32": write_fp32, "int8": write_int8,
}  # fmt: skip


def run_converter(
    ir: Path, target: Path, arguments: tuple[str, ...] = (), child: str = CHILD
) -> str:
    """Convert an ONNX file; returns what the converter printed, which does not tell if it did.

    `child` is the program.

    Raises:
        ConversionError: It crashed, or exceeded its limit.
    """
    command = [
        sys.executable, "-c", child, "-f", "ONNX", "--modelFile", str(ir),
        "--MNNModel", str(target), *EXACT, *arguments,
    ]  # fmt: skip
    try:
        done = run_program(command, LIMIT)
    except OutOfTimeError as error:
        raise _failed(ir, f"MNN's converter did not end: {error}") from error
    log = done.stdout + done.stderr
    if done.status != 0:
        raise _failed(ir, f"MNN's converter ended with status {done.status}: {_reason(log)}")
    return log


def check_file(ir: Path, target: Path, precision: str, log: str = "") -> Session:
    """Load a file, and compare it with its ONNX graph in ONNX Runtime, on noise.

    Raises:
        ConversionError: There is no file, MNN does not load or run it, its outputs have other
            names or shapes, or they differ more than `AGREEMENT` allows.
    """
    if not target.is_file():
        raise _failed(ir, f"MNN's converter wrote no file: {_reason(log)}")
    graph = get_runtime("onnxruntime").load([ir], "cpu", SessionOptions())
    feed = {info.name: uniform_noise([int(size) for size in info.shape]) for info in graph.inputs}
    try:
        session = get_runtime("mnn").load([target], "cpu", SessionOptions(precision))
        outputs = session.run(feed)
    except RuntimeError as error:
        raise _failed(ir, f"{error}; its converter printed: {_reason(log)}") from error
    if wrong := differences(outputs, graph.run(feed), AGREEMENT[precision]):
        raise ConversionError(
            "convert", target.name, "; ".join(wrong), "what the ONNX graph computes",
            "MNN has converted an operator wrongly. Deploy this model on another backend, and "
            "report it with its config.",
        )  # fmt: skip
    return session


def weight_precision(path: Path) -> StoredPrecision:
    """'int8' if any layer is quantized, else 'fp32' or 'fp16': what holds most of the weights."""
    sizes: Counter[StoredPrecision] = Counter()
    for layer in read_convolutions(path):
        sizes[layer.stored] += layer.bytes
    if sizes[StoredPrecision.INT8]:
        return StoredPrecision.INT8
    return max(sizes, key=lambda name: sizes[name], default=StoredPrecision.FP32)


def _reason(log: str) -> str:
    """The last line that the converter printed, of those that report an error if there are any."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line or "Check failed" in line]
    return (errors or lines or ["nothing"])[-1]


def _failed(ir: Path, reason: str) -> ConversionError:
    return ConversionError(
        "convert", str(ir), reason, "a graph that MNN converts and runs",
        "Deploy this model on another backend, and report it with its config.",
    )  # fmt: skip
