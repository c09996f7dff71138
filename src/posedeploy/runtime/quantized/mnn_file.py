"""Convolutions of a `.mnn` file: what their weights are stored in, and their noise in MNN.

MNN converts linear layers to convolutions.  A module may begin and end at any tensors of a graph,
so one that begins at the input of each quantized layer runs each alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers import encode, packer
from flatbuffers.number_types import Int32Flags, Uint8Flags
from flatbuffers.table import Table
from numpy.typing import NDArray

from posedeploy.runtime.mnn import load_module, printed, variable
from posedeploy.runtime.quantized.noise import NoiseMeter, Quantized
from posedeploy.runtime.types import StoredPrecision

# Offsets of fields, 4 + 2 * number, in the tables of MNN's FlatBuffers schema (MNN.fbs,
# CaffeOp.fbs):
_OPERATORS, _TENSORS = 10, 18  # Net.oplists, .tensorName
_KIND, _PARAMETERS, _NAME, _OUTPUTS = 6, 8, 10, 12  # Op.main_type, .main, .name, .outputIndexes
_WEIGHT, _QUANTIZED = 6, 10  # Convolution2D.weight, .quanParameter
_BUFFER, _TYPE = 4, 8  # IDSTQuan.buffer, .type
_CONVOLUTION, _HALF = 9, 3  # OpParameter.Convolution2D; the type of weights in float16


@dataclass(frozen=True)
class Convolution:
    """A convolution.

    Attributes:
        name: Of the convolution, as in the ONNX graph.
        output: The tensor that it writes: that of an activation which MNN has merged with it.
        stored: What its weights are stored in.
        bytes: The size of its weights.
    """

    name: str
    output: str
    stored: StoredPrecision
    bytes: int


def read_convolutions(path: Path) -> list[Convolution]:
    """The convolutions of a `.mnn` file, in its order."""
    return list(_convolutions(path.read_bytes()))


def measure(
    files: Sequence[str], float_files: Sequence[str], inputs: NDArray[np.float32]
) -> Quantized:
    """Noise of every layer with weights in int8; see `noise`."""
    exact = {layer.output for layer in read_convolutions(Path(float_files[0]))}
    layers = [
        layer.output for layer in read_convolutions(Path(files[0]))
        if layer.stored is StoredPrecision.INT8
    ]  # fmt: skip
    if lost := sorted({*layers} - exact):
        raise ValueError(f"the float32 file has no convolution {lost[0]}")
    meter = NoiseMeter()
    if layers:
        formats = _inputs(float_files[0], layers)
        wanted = list(dict.fromkeys((*formats, *layers)))
        start = next(iter(_graph(float_files[0])[0]))
        values = load_module(Path(float_files[0]), [start], wanted)
        alone = load_module(Path(files[0]), list(formats), layers)
        for image in inputs:
            expected = _run(values, wanted, [variable(image[None])])
            fed = [variable(expected[name], form) for name, form in formats.items()]
            for name, got in _run(alone, layers, fed).items():
                meter.add(name, got, expected[name])
    return Quantized(meter.layers(dict.fromkeys(layers, "Convolution")), len(exact))


def _graph(path: str) -> tuple[list[str], Mapping[str, Any]]:
    """Names of the inputs of a file, and its variables by name."""
    with printed():
        import MNN

        variables = MNN.expr.load_as_dict(path)
        return [name for name, var in variables.items() if var.op_type == "Input"], variables


def _inputs(path: str, layers: Sequence[str]) -> dict[str, Any]:
    """Name -> memory format of the tensors that layers read."""
    _, variables = _graph(path)
    read = [variables[layer].inputs[0] for layer in layers]
    return {value.name: value.data_format for value in read}


def _run(module: Any, names: Sequence[str], fed: Sequence[Any]) -> dict[str, NDArray[np.float32]]:
    import MNN

    found = zip(names, module.onForward(list(fed)), strict=True)
    return {
        name: np.array(MNN.expr.convert(value, MNN.expr.NCHW).read(), np.float32)
        for name, value in found
    }


def _convolutions(data: bytes) -> Iterator[Convolution]:
    net = Table(data, encode.Get(packer.uoffset, data, 0))
    first, names = net.Vector(net.Offset(_OPERATORS)), net.Vector(net.Offset(_TENSORS))
    for index in range(_length(net, _OPERATORS)):
        operator = Table(data, net.Indirect(first + 4 * index))
        kind = operator.Offset(_KIND)
        if kind and operator.Get(Uint8Flags, operator.Pos + kind) == _CONVOLUTION:
            name = operator.String(operator.Pos + operator.Offset(_NAME)).decode()
            written = operator.Get(Int32Flags, operator.Vector(operator.Offset(_OUTPUTS)))
            output = net.String(names + 4 * written).decode()
            yield Convolution(name, output, *_stored(_child(operator, _PARAMETERS)))


def _stored(convolution: Table) -> tuple[StoredPrecision, int]:
    if not convolution.Offset(_QUANTIZED):
        return StoredPrecision.FP32, 4 * _length(convolution, _WEIGHT)
    quantized = _child(convolution, _QUANTIZED)
    kind = quantized.Get(Int32Flags, quantized.Pos + quantized.Offset(_TYPE))
    stored = StoredPrecision.FP16 if kind == _HALF else StoredPrecision.INT8
    return stored, _length(quantized, _BUFFER)


def _child(parent: Table, field: int) -> Table:
    return Table(parent.Bytes, parent.Indirect(parent.Pos + parent.Offset(field)))


def _length(parent: Table, field: int) -> int:
    offset = parent.Offset(field)
    return int(parent.VectorLen(offset)) if offset else 0
