"""The facts of an ONNX file that a folder is validated by, read without the onnx package.

A reader of protobuf's wire format (https://protobuf.dev/programming-guides/encoding) for the
messages of onnx.proto that matter here; weights are skipped, not read.  It serves the
validator, and keeps `PoseDetector` from loading a graph that names files outside its folder.
"""

from __future__ import annotations

import codecs
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from posedeploy.errors import BadInputError, what_it_is
from posedeploy.runtime import TensorInfo

Value = int | memoryview
MAX_NESTING = 24  # of graphs in attributes of nodes; real ones have 2
MAX_FIELDS = 500_000  # that are looked at, some of them several times

# TensorProto.DataType -> numpy's name
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 16: "bfloat16",
}  # fmt: skip

# Message -> fields through which a tensor can be reached (numbers of onnx.proto)
_INTO: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "Sparse"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "Sparse", 23: "Sparse"},
    "Sparse": {1: "Tensor", 2: "Tensor"},
}


@dataclass(frozen=True)
class OnnxFacts:
    """Facts of an ONNX file."""

    ir_version: int
    opsets: dict[str, int]  # operator domain -> version; '' is ONNX's own domain
    inputs: tuple[TensorInfo, ...]  # inputs that are not initializers
    outputs: tuple[TensorInfo, ...]
    external: tuple[str, ...]  # files outside the graph that it takes weights from
    operators: frozenset[str]  # types of the main graph's nodes
    weight_types: frozenset[str]  # numpy dtype names of the main graph's initializers


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a varint of more than ten bytes")


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """Field numbers and values of one message: ints, or the bytes of what has a length.

    A ValueError says what is not protobuf's wire format.
    """
    at = 0
    while at < len(data):
        try:
            key, at = _varint(data, at)
            number, kind = key >> 3, key & 7
            if not number:
                raise ValueError("a field without a number")
            if kind == 0:
                value, at = _varint(data, at)
                yield number, value
                continue
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
        except IndexError as error:
            raise ValueError("it ends in the middle of a field") from error
        if size < 0:
            raise ValueError(f"no such wire type: {kind}")
        if at + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


class _Reader:
    """Reads one file; a ValueError where it has more than `MAX_FIELDS` fields to look at."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS

    def fields(self, data: memoryview) -> Iterator[tuple[int, Value]]:
        """The fields of one message, counted."""
        for field in fields(data):
            self._left -= 1
            if self._left < 0:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            yield field

    def _only(self, data: memoryview, number: int) -> list[memoryview]:
        return [v for n, v in self.fields(data) if n == number and isinstance(v, memoryview)]

    def _text(self, data: memoryview, number: int) -> str:
        return "".join(bytes(v).decode("utf-8", "replace") for v in self._only(data, number)[:1])

    def _number(self, data: memoryview, number: int) -> int:
        return next((v for n, v in self.fields(data) if n == number and isinstance(v, int)), 0)

    def _tensor_info(self, value_info: memoryview) -> TensorInfo:
        """ValueInfoProto: name 1, type 2; TypeProto: tensor 1; its elem_type 1 and shape 2."""
        shape: list[int | str] = []
        dtype = "?"
        for tensor in [
            tensor for kind in self._only(value_info, 2)[:1] for tensor in self._only(kind, 1)[:1]
        ]:
            dtype = DTYPES.get(self._number(tensor, 1), "?")
            for dim in [dim for dims in self._only(tensor, 2)[:1] for dim in self._only(dims, 1)]:
                sizes = [v for n, v in self.fields(dim) if n == 1 and isinstance(v, int)]
                known = [size for size in sizes if size < 2**63]  # int64; one below 0 is dynamic
                shape.append(known[0] if known else self._text(dim, 2) or "?")
        return TensorInfo(self._text(value_info, 1), tuple(shape), dtype)

    def _external(self, data: memoryview, message: str, depth: int = 0) -> Iterator[str]:
        """Locations of external data anywhere below a message."""
        if depth > MAX_NESTING:
            raise ValueError(f"graphs nested deeper than {MAX_NESTING}")
        if message == "Tensor":
            # data_location (14) 1 is EXTERNAL; entries (13) without it count too: loaders differ
            entries = self._only(data, 13)
            if entries or self._number(data, 14) == 1:
                yield {self._text(entry, 1): self._text(entry, 2) for entry in entries}.get(
                    "location", "?"
                )
            return
        for number, value in self.fields(data):
            below = _INTO[message].get(number)
            if below and isinstance(value, memoryview):
                yield from self._external(value, below, depth + (below == "Graph"))

    def facts(self, data: memoryview) -> OnnxFacts:
        """What a whole file tells."""
        graphs = self._only(data, 7)
        if len(graphs) != 1:
            raise ValueError("no graph in it")
        graph = graphs[0]
        initialized = {self._text(tensor, 8) for tensor in self._only(graph, 5)}
        inputs = [self._tensor_info(value) for value in self._only(graph, 11)]
        return OnnxFacts(
            ir_version=self._number(data, 1),
            opsets={self._text(entry, 1): self._number(entry, 2) for entry in self._only(data, 8)},
            inputs=tuple(info for info in inputs if info.name not in initialized),
            outputs=tuple(self._tensor_info(value) for value in self._only(graph, 12)),
            external=tuple(sorted(set(self._external(data, "Model")))),
            operators=frozenset(self._text(node, 4) for node in self._only(graph, 1)),
            weight_types=frozenset(
                DTYPES.get(self._number(t, 2), "?") for t in self._only(graph, 5)
            ),
        )


def read_onnx(path: Path) -> OnnxFacts:
    """Facts of an ONNX file; a BadInputError where it is none."""
    data = path.read_bytes()
    try:
        return _Reader().facts(memoryview(data))
    except ValueError as error:
        found = f"no ONNX graph: {error}" + ("" if data else " (an empty file)")
        next_step = "Convert the model again."
        raise BadInputError(path.name, found, "an ONNX file", next_step) from error


def refuse_other_than_xml(path: Path) -> None:
    """Raise a BadInputError if a file is no XML. No ONNX file begins as XML does."""
    with path.open("rb") as file:
        start = file.read(4).removeprefix(codecs.BOM_UTF8)
    if not start.startswith(b"<"):
        found, next_step = what_it_is(path), "Convert the model again."
        raise BadInputError(path.name, f"{found}, which is no XML", "OpenVINO's XML", next_step)


def refuse_external_data(path: Path) -> None:
    """Raise a BadInputError if an ONNX file takes weights from other files."""
    with path.open("rb") as file:
        suspicious = path.stat().st_size == 0  # mmap takes no empty file
        if not suspicious:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                # External data is a list of key-value pairs, one of which has this key.
                suspicious = content.find(b"location") >= 0
    if suspicious and (external := read_onnx(path).external):
        found = f"weights in other files: {', '.join(external)[:120]}"
        expected = "one ONNX file with its weights in it"
        next_step = "Save it without external data; clients do not read them."
        raise BadInputError(path.name, found, expected, next_step)
