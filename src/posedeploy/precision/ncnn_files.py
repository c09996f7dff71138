"""Reading and writing ncnn's `.param` and `.bin` files.

A `.bin` file holds the weights of one layer after the other and no index, so a layer's weights are
located by the sizes of all layers before it. How many numbers a layer type reads, and whether a
type tag precedes them, is from the layers' `load_model` in ncnn's source
(https://github.com/Tencent/ncnn/tree/master/src/layer) and its operators.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError

MAGIC = "7767517"
_FLOAT = 4  # bytes
_TAG = 4  # bytes of the tag before weights; 0 stands for float32


Block = tuple[int, bool]  # how many numbers, and whether a type tag precedes them


@dataclass(frozen=True)
class Layer:
    """One line of a `.param` file; inputs and outputs are blobs, parameters number -> text."""

    type: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: Mapping[int, str]

    def number(self, key: int, default: int = 0) -> int:
        """A parameter as an integer."""
        return int(self.params.get(key, default))

    def __str__(self) -> str:
        counts = f"{len(self.inputs)} {len(self.outputs)}"
        words = [f"{self.type:<24} {self.name:<24} {counts}", *self.inputs, *self.outputs]
        # arrays have numbers of -23300 and below; the others come first
        order = sorted(self.params, key=lambda key: (key < 0, abs(key)))
        return " ".join([*words, *(f"{key}={self.params[key]}" for key in order)])


@dataclass(frozen=True)
class Weights:
    """A layer's numbers in a `.bin` file, from byte `start` up to byte `end`."""

    layer: Layer
    start: int
    end: int


Blocks = Callable[[Layer], Iterator[Block]]


def _weights_and_bias(weights: int, bias: int) -> Blocks:
    """Parameter `weights` numbers, and a bias for each output if parameter `bias` is 1."""

    def blocks(layer: Layer) -> Iterator[Block]:
        yield layer.number(weights), True
        yield layer.number(0) * layer.number(bias), False

    return blocks


def _floats(times: int, size: int, flag: int | None = None) -> Blocks:
    """`times` times parameter `size` floats; none if parameter `flag` is 0."""

    def blocks(layer: Layer) -> Iterator[Block]:
        present = flag is None or layer.number(flag, 1)
        yield times * layer.number(size) if present else 0, False

    return blocks


def _gemm(layer: Layer) -> Iterator[Block]:
    rows, columns, inner = (layer.number(key) for key in (7, 8, 9))
    broadcast = {-1: 0, 0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}
    yield rows * inner * layer.number(4), True
    yield inner * columns * layer.number(5), True
    yield broadcast[layer.number(10)] * layer.number(6), True


def _memory_data(layer: Layer) -> Iterator[Block]:
    sides = [side for key in (0, 1, 11, 2) if (side := layer.number(key))]
    yield math.prod(sides) if sides else 0, layer.number(21, 1) == 0


def _attention(layer: Layer) -> Iterator[Block]:
    width, weights = layer.number(0), layer.number(2)
    sides = (weights, width * layer.number(3, width), width * layer.number(4, width), weights)
    for count, bias in zip(sides, (width, width, width, weights // width), strict=True):
        yield count, True
        yield bias, False


def _scale(layer: Layer) -> Iterator[Block]:
    yield layer.number(0) * (1 + layer.number(1)), False


# ---- modify these tables to add a layer type -------------------------------------------------
# fmt: off
WEIGHTED: Mapping[str, Blocks] = {
    "BatchNorm":              _floats(4, 0),
    "Convolution":            _weights_and_bias(6, 5),
    "ConvolutionDepthWise":   _weights_and_bias(6, 5),
    "Deconvolution":          _weights_and_bias(6, 5),
    "DeconvolutionDepthWise": _weights_and_bias(6, 5),
    "Gemm":                   _gemm,
    "GroupNorm":              _floats(2, 1, 3),
    "InnerProduct":           _weights_and_bias(2, 1),
    "LayerNorm":              _floats(2, 0, 2),
    "MemoryData":             _memory_data,
    "MultiHeadAttention":     _attention,
    "PReLU":                  _floats(1, 0),
    "Scale":                  _scale,
}
# Layers that read nothing from the `.bin` file.
WEIGHTLESS = frozenset({
    "AbsVal", "BinaryOp", "Clip", "Concat", "Crop", "Dropout", "Eltwise", "Exp", "ExpandDims",
    "Flatten", "GELU", "HardSigmoid", "HardSwish", "Input", "Interp", "MatMul", "Mish", "Noop",
    "Normalize", "Packing", "Padding", "Permute", "PixelShuffle", "Pooling", "Power", "ReLU",
    "Reduction", "Reorg", "Reshape", "SELU", "ShuffleChannel", "Sigmoid", "Slice", "Softmax",
    "Split", "Squeeze", "Swish", "TanH", "Tile", "UnaryOp",
})
# fmt: on
# ----------------------------------------------------------------------------------------------


def read_param(path: Path) -> tuple[Layer, ...]:
    """The layers of a `.param` file, in its order.

    Raises:
        ConversionError: It is not a `.param` file.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise ConversionError(
            "convert", path.name, f"a first line that is not {MAGIC}", "a .param file of ncnn",
            "Convert the model again.",
        )  # fmt: skip
    return tuple(_layer(line.split()) for line in lines[2:] if line.strip())


def _layer(words: list[str]) -> Layer:
    reads, writes = int(words[2]), int(words[3])
    middle, end = 4 + reads, 4 + reads + writes
    pairs = (word.split("=", 1) for word in words[end:])
    params = {int(key): value for key, value in pairs}
    return Layer(words[0], words[1], tuple(words[4:middle]), tuple(words[middle:end]), params)


def write_param(path: Path, layers: tuple[Layer, ...]) -> None:
    """Write a `.param` file."""
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [MAGIC, f"{len(layers)} {blobs}", *map(str, layers)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def walk(layers: tuple[Layer, ...], content: bytes) -> tuple[Weights, ...]:
    """The weights of every weighted layer in a float32 `.bin` file.

    Raises:
        ConversionError: A layer type is in neither table, weights are not float32, or the file is
            longer or shorter than the layers' sizes add up to.
    """
    weights, end = [], 0
    for layer in layers:
        if layer.type in WEIGHTLESS:
            continue
        if layer.type not in WEIGHTED:
            text = f"layer {layer.name} of type {layer.type}"
            raise _refused(text, "types with a row", _COMPARE)
        start = end
        for count, tagged in WEIGHTED[layer.type](layer):
            if not count:
                continue
            if tagged and content[end : end + _TAG] != bytes(_TAG):
                text = f"weights of {layer.name} that are not float32"
                raise _refused(text, "float32", "Run pnnx with fp16=0.")
            end += count * _FLOAT + (_TAG if tagged else 0)
        weights.append(Weights(layer, start, end))
    if end != len(content):
        raise _refused(f"{len(content)} bytes", f"{end} bytes, by the layers' sizes", _COMPARE)
    return tuple(weights)


_COMPARE = "Compare the layer with WEIGHTED and WEIGHTLESS in posedeploy/precision/ncnn_files.py."


def _refused(found: str, expected: str, next_step: str) -> ConversionError:
    return ConversionError("convert", "ncnn's .bin file", found, expected, next_step)


def kernel(weights: Weights, content: bytes) -> NDArray[np.float32]:
    """The first block of a layer's weights: its flattened kernel."""
    count, tagged = next(WEIGHTED[weights.layer.type](weights.layer))
    return np.frombuffer(content, "<f4", count, weights.start + (_TAG if tagged else 0))
