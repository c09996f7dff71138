"""Reading and writing ncnn's `.param` and `.bin` files.

A `.bin` file holds the weights of one layer after the other and no index, so a layer's weights are
found from the sizes of all layers before it. How many numbers a layer type reads, and whether a
type tag precedes them, is from the layers' `load_model` in ncnn's source
(https://github.com/Tencent/ncnn/tree/master/src/layer) and its operators.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import ConversionError

MAGIC = "7767517"
_FLOAT = 4  # bytes
_TAG = 4  # bytes of the tag before weights; 0 stands for float32


@dataclass(frozen=True)
class Layer:
    """One line of a `.param` file.

    Attributes:
        type: Layer type.
        name: Layer name.
        inputs: Names of the blobs it reads.
        outputs: Names of the blobs it writes.
        params: Parameter number -> text.
    """

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
class Block:
    """Consecutive numbers in a `.bin` file.

    Attributes:
        count: How many.
        tagged: True if a type tag precedes them.
    """

    count: int
    tagged: bool


@dataclass(frozen=True)
class Weights:
    """A layer's numbers in a `.bin` file.

    Attributes:
        layer: The layer.
        start: Offset of the first byte.
        end: Offset behind the last byte.
    """

    layer: Layer
    start: int
    end: int


def _convolution(layer: Layer) -> Iterator[Block]:
    yield Block(layer.number(6), tagged=True)
    yield Block(layer.number(0) * layer.number(5), tagged=False)


def _inner_product(layer: Layer) -> Iterator[Block]:
    yield Block(layer.number(2), tagged=True)
    yield Block(layer.number(0) * layer.number(1), tagged=False)


def _gemm(layer: Layer) -> Iterator[Block]:
    rows, columns, inner = (layer.number(key) for key in (7, 8, 9))
    broadcast = {-1: 0, 0: 1, 1: rows, 2: rows, 3: rows * columns, 4: columns}
    yield Block(rows * inner * layer.number(4), tagged=True)
    yield Block(inner * columns * layer.number(5), tagged=True)
    yield Block(broadcast[layer.number(10)] * layer.number(6), tagged=True)


def _memory_data(layer: Layer) -> Iterator[Block]:
    sides = [layer.number(key) for key in (0, 1, 11, 2)]
    count = int(np.prod([side for side in sides if side])) if any(sides) else 0
    yield Block(count, tagged=layer.number(21, 1) == 0)


def _attention(layer: Layer) -> Iterator[Block]:
    width, weights = layer.number(0), layer.number(2)
    queries = weights // width
    sides = (weights, width * layer.number(3, width), width * layer.number(4, width), weights)
    for count, bias in zip(sides, (width, width, width, queries), strict=True):
        yield Block(count, tagged=True)
        yield Block(bias, tagged=False)


def _floats(times: int, size: int, flag: int | None = None) -> Callable[[Layer], Iterator[Block]]:
    """`times` times parameter `size` floats; none if parameter `flag` is 0."""

    def blocks(layer: Layer) -> Iterator[Block]:
        present = flag is None or layer.number(flag, 1)
        yield Block(times * layer.number(size) if present else 0, tagged=False)

    return blocks


def _scale(layer: Layer) -> Iterator[Block]:
    yield Block(layer.number(0) * (1 + layer.number(1)), tagged=False)


# ---- modify these tables to add a layer type -------------------------------------------------
# fmt: off
WEIGHTED: Mapping[str, Callable[[Layer], Iterator[Block]]] = {
    "BatchNorm":              _floats(4, 0),
    "Convolution":            _convolution,
    "ConvolutionDepthWise":   _convolution,
    "Deconvolution":          _convolution,
    "DeconvolutionDepthWise": _convolution,
    "Gemm":                   _gemm,
    "GroupNorm":              _floats(2, 1, 3),
    "InnerProduct":           _inner_product,
    "LayerNorm":              _floats(2, 0, 2),
    "MemoryData":             _memory_data,
    "MultiHeadAttention":     _attention,
    "PReLU":                  _floats(1, 0),
    "Scale":                  _scale,
}
# fmt: on
# Layers that read nothing from the `.bin` file.
# fmt: off
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


def with_param(layer: Layer, key: int, value: str) -> Layer:
    """The layer with another value of one parameter."""
    return replace(layer, params={**layer.params, key: value})


def walk(layers: tuple[Layer, ...], content: bytes) -> tuple[Weights, ...]:
    """The weights of every weighted layer in a float32 `.bin` file.

    Raises:
        ConversionError: A layer type is in neither table, weights are not float32, or the file is
            longer or shorter than the layers' sizes add up to.
    """
    found, end = [], 0
    for layer in layers:
        if layer.type in WEIGHTLESS:
            continue
        if layer.type not in WEIGHTED:
            raise _refused(f"layer {layer.name} of type {layer.type}", "types with a row", _ROW)
        start = end
        for block in WEIGHTED[layer.type](layer):
            if not block.count:
                continue
            if block.tagged and content[end : end + _TAG] != bytes(_TAG):
                raise _refused(f"weights of {layer.name} that are not float32", "float32", _FP32)
            end += block.count * _FLOAT + (_TAG if block.tagged else 0)
        found.append(Weights(layer, start, end))
    if end != len(content):
        raise _refused(f"{len(content)} bytes", f"{end} bytes, by the layers' sizes", _ROW)
    return tuple(found)


_ROW = "Compare the layer with WEIGHTED and WEIGHTLESS in posedeploy/precision/ncnn_files.py."
_FP32 = "Run pnnx with fp16=0."


def _refused(found: str, expected: str, next_step: str) -> ConversionError:
    return ConversionError("convert", "ncnn's .bin file", found, expected, next_step)


def kernel(weights: Weights, content: bytes) -> NDArray[np.float32]:
    """The first block of a layer's weights: its flattened kernel."""
    block = next(iter(WEIGHTED[weights.layer.type](weights.layer)))
    offset = weights.start + (_TAG if block.tagged else 0)
    return np.frombuffer(content, "<f4", block.count, offset)
