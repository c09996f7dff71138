"""Which parts of a network stay in float32, and why: one row a part.

Every recipe that works on an ONNX graph uses this table; ncnn's applies the same reasons to ncnn's
own layers (`ncnn_int8`).
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
# These read a tensor's shape, not its values.
_SHAPES = ("Shape", "Size")
# The projection on LiteHRNet's branch of stride 4; exporters keep its name in the node or in the
# weight.
_LITEHRNET = re.compile(r"head_layer[./]projects\.3[./]depthwise_conv")

LAST_LAYERS = "last layers"
LITEHRNET = "LiteHRNet's last depthwise convolution"

Find = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True)
class FloatPart:
    """One part that stays in float32.

    Attributes:
        part: What it is called in reports.
        precisions: For which precisions it stays.
        why: The reason, with the measurement behind it where there is one.
        find: Its nodes in an `onnx_ir.Graph`.
    """

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
    if not _is_detector(graph):
        return []
    stop = _network_end(graph)
    return [node for node in _upstream(graph, stop) if not stop(node)]


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
    """Nodes whose values reach the outputs, nearest first, up to and including those at `stop`."""
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
    found = list(_operators("LayerNormalization", "InstanceNormalization")(graph))
    for node in _operators("ReduceL2")(graph):
        found += _until_division(node)
    return found


def _until_division(node: Any) -> list[Any]:
    chain = [node]
    while node.op_type != "Div":
        readers = node.outputs[0].consumers()
        if len(readers) != 1:
            break
        node = readers[0]
        chain.append(node)
    return chain


def _litehrnet(graph: Any) -> Iterable[Any]:
    return [
        node
        for node in _operators("Conv")(graph)
        if any(
            map(_LITEHRNET.search, (node.name, *(v.name for v in node.inputs if v is not None)))
        )
    ]


# ---- modify this table to keep another part in float32 --------------------------------------
# fmt: off
FLOAT_PARTS: tuple[FloatPart, ...] = (
    FloatPart("decode and NMS", ("fp16", "int8"),
              "coordinates of 640 px have steps of 0.5 px in fp16 and of 2.5 px in int8; "
              "thresholds and top-k order scores that differ by less than a step", _decode),
    FloatPart("gated attention's norm, layer norms", ("fp16", "int8"),
              "a sum of squares leaves fp16's range at 65504, that is from |x| = 16 on with 256 "
              "channels; in int8 the quotient's divisor has few steps near 0", _norms),
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

    Args:
        proto: A `GraphProto` whose nodes all have names.
        precision: 'fp16' or 'int8'.
        names: The nodes that stay; None takes those of `FLOAT_PARTS`.
    """
    import onnx_ir as ir

    graph = ir.from_proto(proto)
    found: dict[str, str] = {}
    for row in FLOAT_PARTS:
        if precision in row.precisions:
            for node in row.find(graph):
                found.setdefault(node.name, row.part)
    return found if names is None else {name: found.get(name, "asked for") for name in names}


def parts(kept: Mapping[str, str]) -> dict[str, int]:
    """Part -> how many nodes stayed in float32 because of it, for `detail.json`."""
    return dict(sorted(Counter(kept.values()).items()))
