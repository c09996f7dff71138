"""MNN: the exported ONNX graph through MNN's converter, in a child process without a network.

The converter is the extension `_tools` of MNN's wheel.  The wheel's console scripts, `mnnconvert`
and `mnnquant`, and the modules of `MNN.tools` behind them wrap it, and are never used: on import
they run `pip install` for a package of telemetry, and afterwards they upload what was converted.

The converter ends with status 0 whatever happens, and may write a file without a graph.  So its
file is loaded, run and compared with the ONNX graph before it is accepted.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flatbuffers import encode, packer
from flatbuffers.number_types import Int32Flags, Uint8Flags
from flatbuffers.table import Table

from posedeploy.config import DeployConfig
from posedeploy.convert.agreement import AGREEMENT, differences, uniform_noise
from posedeploy.convert.types import Converted, Declared, refuse_dynamic_batch
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import (
    Session,
    SessionOptions,
    StoredPrecision,
    backend_row,
    get_runtime,
)
from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program

LIMIT = Limit(600.0)  # of CPU: the slowest model here takes 10 s
# Arguments of the converter. By default it replaces GELU by an approximation with tanh, which
# costs RTMO ten times the error of float32.
EXACT = ("--useGeluApproximation", "0", "--bizCode", "posedeploy")
# `--weightQuantAsymmetric` is inverted in MNN 3.6.1: with it weights have one scale a channel, and
# without it a minimum as well, whose grid is not that of trained symmetric weights.
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "fp16": ("--fp16",),
    "fp32": (),
    "int8": ("--weightQuantBits", "8", "--weightQuantAsymmetric"),
}
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "fp16": {"name": "weights in float16, computed in float32"},
    "fp32": {},
    "int8": {"name": "weights in int8, per channel, symmetric; computed in float32"},
}
# Offsets of fields, 4 + 2 * number, in the tables of MNN's FlatBuffers schema (MNN.fbs,
# CaffeOp.fbs):
_OPERATORS = 10  # Net.oplists
_KIND, _PARAMETERS = 6, 8  # Op.main_type, Op.main
_WEIGHT, _QUANTIZED = 6, 10  # Convolution2D.weight, .quanParameter
_BUFFER, _TYPE = 4, 8  # IDSTQuan.buffer, .type
_CONVOLUTION, _HALF = 9, 3  # OpParameter.Convolution2D; the type of weights in float16
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
    log = run_converter(ir, target, ARGUMENTS[precision])
    session = check_file(ir, target, precision, log)
    declared = Declared(session.inputs, session.outputs)
    return Converted((target.name,), weight_precision(target), declared, RECIPES[precision])


def run_converter(ir: Path, target: Path, arguments: tuple[str, ...], child: str = CHILD) -> str:
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
    """The type that most weights of a `.mnn` file are stored in, those of its convolutions.

    MNN converts linear layers to convolutions.
    """
    sizes: Counter[StoredPrecision] = Counter()
    for convolution in _convolutions(path.read_bytes()):
        quantized = _table(convolution, _QUANTIZED)
        if quantized is None:
            sizes[StoredPrecision.FP32] += _length(convolution, _WEIGHT)
        elif quantized.Get(Int32Flags, quantized.Pos + quantized.Offset(_TYPE)) == _HALF:
            sizes[StoredPrecision.FP16] += _length(quantized, _BUFFER) // 2
        else:
            sizes[StoredPrecision.INT8] += _length(quantized, _BUFFER)
    return max(sizes, key=lambda name: sizes[name], default=StoredPrecision.FP32)


def _convolutions(data: bytes) -> Iterator[Table]:
    net = Table(data, encode.Get(packer.uoffset, data, 0))
    first = net.Vector(net.Offset(_OPERATORS))
    for index in range(_length(net, _OPERATORS)):
        operator = Table(data, net.Indirect(first + 4 * index))
        kind = operator.Offset(_KIND)
        if kind and operator.Get(Uint8Flags, operator.Pos + kind) == _CONVOLUTION:
            found = _table(operator, _PARAMETERS)
            yield from [found] if found else []


def _table(parent: Table, field: int) -> Table | None:
    offset = parent.Offset(field)
    return Table(parent.Bytes, parent.Indirect(parent.Pos + offset)) if offset else None


def _length(parent: Table, field: int) -> int:
    offset = parent.Offset(field)
    return int(parent.VectorLen(offset)) if offset else 0


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
