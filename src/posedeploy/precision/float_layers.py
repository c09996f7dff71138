"""Which parts of a network stay in float32, and why: one row a part.

Used by every recipe that works on an ONNX graph; ncnn's takes the same reasons to its own layers
(`ncnn_int8`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from posedeploy.precision.graph import GraphView, graph_view

# Outputs of graphs that find the people themselves: SDK contract, up to NMS, before it, raw.
DETECTION_OUTPUTS = frozenset({"dets", "boxes", "cls"})
# The projection on LiteHRNet's branch of stride 4; exporters keep its name in the node or in the
# weight.
_LITEHRNET = re.compile(r"head_layer[./]projects\.3[./]depthwise_conv")

LAST_LAYERS = "last layers"
LITEHRNET = "LiteHRNet's last depthwise convolution"

Find = Callable[[GraphView], Iterable[str]]


@dataclass(frozen=True)
class Kept:
    """One part that stays in float32.

    Attributes:
        part: What it is called in reports.
        precisions: For which precisions it stays.
        why: The reason, with the measurement behind it where there is one.
        find: Names of its nodes in a graph.
    """

    part: str
    precisions: tuple[str, ...]
    why: str
    find: Find


def _last_layers(view: GraphView) -> Iterable[str]:
    """The layers, and for top-down models what follows them: a bias may be a node of its own."""
    stop, top_down = _stop(view), not DETECTION_OUTPUTS & set(view.outputs)
    return [node.name for node in view.upstream(view.outputs, stop) if top_down or stop(node)]


def _decode(view: GraphView) -> Iterable[str]:
    if not DETECTION_OUTPUTS & set(view.outputs):
        return []
    stop = _stop(view)
    return [node.name for node in view.upstream(view.outputs, stop) if not stop(node)]


def _stop(view: GraphView) -> Callable[[Any], bool]:
    """Where the network proper ends: the last convolution or, of top-down models, linear layer.

    RTMO's decode has linear layers of its own, so that of detectors ends at convolutions alone.
    """
    if DETECTION_OUTPUTS & set(view.outputs):
        return lambda node: node.op_type == "Conv"
    return view.weighted


def _operators(*operators: str) -> Find:
    return lambda view: [node.name for node in view.nodes if node.op_type in operators]


def _norms(view: GraphView) -> Iterable[str]:
    """Layer norms, and what computes x / max(scale * norm(x), eps) between norm and quotient."""
    found = list(_operators("LayerNormalization", "InstanceNormalization")(view))
    for node in view.nodes:
        if node.op_type == "ReduceL2":
            found += _until_division(view, node)
    return found


def _until_division(view: GraphView, node: Any) -> list[str]:
    chain = [node.name]
    while node.op_type != "Div":
        readers = view.readers.get(node.output[0], [])
        if len(readers) != 1:
            break
        node = readers[0]
        chain.append(node.name)
    return chain


def _litehrnet(view: GraphView) -> Iterable[str]:
    return [
        node.name
        for node in view.nodes
        if node.op_type == "Conv" and any(map(_LITEHRNET.search, (node.name, *node.input)))
    ]


# ---- modify this table to keep another part in float32 --------------------------------------
# fmt: off
KEPT: tuple[Kept, ...] = (
    Kept("decode and NMS", ("fp16", "int8"),
         "coordinates of 640 px have steps of 0.5 px in fp16 and of 2.5 px in int8; thresholds "
         "and top-k order scores that lie nearer than a step", _decode),
    Kept("gated attention's norm, layer norms", ("fp16", "int8"),
         "a sum of squares leaves fp16's range at 65504, that is from |x| = 16 on with 256 "
         "channels; in int8 the quotient's divisor has few steps near 0", _norms),
    Kept(LAST_LAYERS, ("int8",),
         "their rounding goes into the result unfiltered: peaks are told from their neighbors "
         "by less than a 256th of the range", _last_layers),
    Kept(LITEHRNET, ("int8",),
         "its input has crest factor 18: one range for all channels leaves most of them a few "
         "steps", _litehrnet),
    Kept("softmax", ("fp16", "int8"),
         "a row of n scores averages 1/n, which is below one int8 step from 256 positions on",
         _operators("Softmax")),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


def kept_nodes(graph: Any, precision: str, rows: Iterable[Kept] = KEPT) -> dict[str, str]:
    """Node name -> the part it belongs to, for all nodes of a graph that stay in float32.

    Args:
        graph: A `GraphProto` whose nodes all have names.
        precision: 'fp16' or 'int8'.
        rows: The table.
    """
    view = graph_view(graph)
    found: dict[str, str] = {}
    for row in rows:
        if precision in row.precisions:
            for name in row.find(view):
                found.setdefault(name, row.part)
    return found


def parts(kept: Mapping[str, str]) -> dict[str, int]:
    """Part -> how many nodes stayed in float32 because of it, for `detail.json`."""
    return dict(sorted(Counter(kept.values()).items()))
