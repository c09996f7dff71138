"""Which parts of a network stay in float32, and why: one row a part.

Recipes for ONNX graphs use this table; `ncnn_int8` applies the same reasons to ncnn's layers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Operators with learned weights. A MatMul counts if one of its inputs is an initializer.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# Outputs of detectors: of graphs that end after NMS, before NMS, and at the raw predictions.
DETECTION_OUTPUTS = frozenset({"dets", "boxes", "cls"})
# Nodes of x / max(max|x|, least): Div, Clip, ReduceMax, Abs.
_DIVISION = 4
# These read a tensor's shape, not its values.
_SHAPES = ("Shape", "Size")
# What reads the network's outputs where a top-down graph holds the decoding (`export.decoding`).
_PEAKS = ("ArgMax", "GatherElements", "ReduceMax")
# What follows the last layers of a graph that ends with coordinates: an integral over heatmaps, or
# scores of sigmas (`export.regression`, `export.decoding`).
_COORDINATES = ("Sigmoid", "Softmax")
# The projection on LiteHRNet's branch of stride 4; exporters keep its name in the node or in the
# weight.
_LITEHRNET = re.compile(r"head_layer[./]projects\.3[./]depthwise_conv")

LAST_LAYERS = "last layers"
LITEHRNET = "LiteHRNet's last depthwise convolution"

Find = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True)
class FloatPart:
    """One part that stays in float32 for some precisions; `find` returns its `onnx_ir` nodes."""

    part: str
    precisions: tuple[str, ...]
    why: str
    find: Find


def _is_detector(graph: Any) -> bool:
    return not DETECTION_OUTPUTS.isdisjoint(value.name for value in graph.outputs)


def _last_layers(graph: Any) -> Iterable[Any]:
    """The last layers; of top-down models also what follows: a bias may be a separate node."""
    stop, top_down = _network_end(graph), not _is_detector(graph)
    return [node for node in _upstream(graph, stop) if top_down or stop(node)]


def _decode(graph: Any) -> Iterable[Any]:
    detector = _is_detector(graph)
    nodes = list(_upstream(graph, lambda node: bool(node.op_type in _PEAKS)))
    if not detector and any(node.op_type == "ArgMax" for node in nodes):
        return nodes
    stop = _network_end(graph)
    nodes = [node for node in _upstream(graph, stop) if not stop(node)]
    return nodes if detector or any(node.op_type in _COORDINATES for node in nodes) else []


def _network_end(graph: Any) -> Callable[[Any], bool]:
    """True for the nodes where the network ends and the decode begins, going up from the outputs.

    These are the last convolutions, and in top-down models the last linear layers. RTMO's decode
    has linear layers of its own, so linear layers do not count in detectors.
    """
    if _is_detector(graph):
        return lambda node: bool(node.op_type == "Conv")
    return lambda node: (
        node.op_type in WEIGHTED
        and any(value is not None and value.is_initializer() for value in node.inputs)
    )


def _upstream(graph: Any, stop: Callable[[Any], bool]) -> Iterator[Any]:
    """Nodes that the outputs depend on, nearest first, up to and including those at `stop`."""
    seen: set[Any] = set()
    front = list(graph.outputs)
    while front:
        value = front.pop()
        node = value.producer() if value is not None else None
        if node is None or node in seen or node.op_type in _SHAPES:
            continue
        seen.add(node)
        yield node
        if not stop(node):
            front.extend(node.inputs)


def _operators(*operators: str) -> Find:
    return lambda graph: [node for node in graph if node.op_type in operators]


def _norms(graph: Any) -> Iterable[Any]:
    """Layer norms, and x / max(scale * norm(x), eps) from the norm to the division."""
    nodes = list(_operators("LayerNormalization", "InstanceNormalization")(graph))
    for node in _operators("ReduceL2")(graph):
        nodes.append(node)
        while nodes[-1].op_type != "Div" and len(readers := nodes[-1].outputs[0].consumers()) == 1:
            nodes.append(readers[0])
    return nodes


def _divisions(graph: Any) -> Iterable[Any]:
    """What divides a norm's input by its largest value (`export.norms`), from |x| on."""
    for norm in _operators("ReduceL2")(graph):
        division = norm.inputs[0].producer()
        if division is not None and division.op_type == "Div":
            chain = [division]
            while chain[-1].op_type != "Abs" and len(chain) < _DIVISION:
                chain.append(chain[-1].inputs[chain[-1] is division].producer())
            yield from chain if chain[-1].op_type == "Abs" else ()


def _litehrnet(graph: Any) -> Iterable[Any]:
    def names(node: Any) -> list[str]:
        return [node.name, *(value.name for value in node.inputs if value is not None)]

    return [n for n in _operators("Conv")(graph) if any(map(_LITEHRNET.search, names(n)))]


# ---- modify this table to keep another part in float32 --------------------------------------
# fmt: off
FLOAT_PARTS: tuple[FloatPart, ...] = (
    FloatPart("decode and NMS", ("fp16", "int8"),
              "coordinates of 640 px have steps of 0.5 px in fp16 and of 2.5 px in int8; "
              "fp16 holds no odd index above 2048; "
              "thresholds and top-k order scores that differ by less than a step", _decode),
    FloatPart("gated attention's norm, layer norms", ("fp16", "int8"),
              "a sum of squares leaves fp16's range at 65504, that is from |x| = 16 on with 256 "
              "channels; in int8 the quotient's divisor has few steps near 0", _norms),
    FloatPart("what divides a norm's input", ("int8",),
              "one value of a row divides all others, and after it they are between -1 and 1: "
              "in fp16 that is exact enough, and int8 has few steps for the divisor", _divisions),
    FloatPart(LAST_LAYERS, ("int8",),
              "their rounding goes into the result unfiltered: peaks differ from their neighbors "
              "by less than a 256th of the range", _last_layers),
    FloatPart(LITEHRNET, ("int8",),
              "its input has crest factor 18: one range for all channels leaves most of them a "
              "few steps", _litehrnet),
    FloatPart("softmax", ("fp16", "int8"),
              "a row of n scores averages 1/n, which is below one int8 step from 256 positions on",
              _operators("Softmax")),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


def float_nodes(
    proto: Any, precision: str, names: Collection[str] | None = None
) -> dict[str, str]:
    """Node name -> the part it belongs to, for the nodes of a graph that stay in float32.

    The nodes of the `GraphProto` all have names; `names` None takes those of `FLOAT_PARTS`.
    """
    import onnx_ir as ir

    graph = ir.from_proto(proto)
    part_of: dict[str, str] = {}
    for row in FLOAT_PARTS:
        if precision in row.precisions:
            for node in row.find(graph):
                part_of.setdefault(node.name, row.part)
    return part_of if names is None else {n: part_of.get(n, "asked for") for n in names}


def parts(kept: Mapping[str, str]) -> dict[str, int]:
    """Part -> how many nodes stayed in float32 because of it, for `detail.json`."""
    return dict(sorted(Counter(kept.values()).items()))
