"""Defects of graphs that find the people themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import helper

from suites.defects.graph_edits import Edit, nodes, on_output, through
from suites.defects.planting import Graph, initializer, set_initializer

THRESHOLDS = {"iou": 3, "score": 4}  # inputs of NonMaxSuppression


def threshold(which: str, value: float) -> Edit:
    """Another threshold than the model's in NonMaxSuppression."""

    def edit(graph: Graph) -> None:
        (suppression,) = nodes(graph, "NonMaxSuppression")
        set_initializer(graph, "limit", np.asarray([value], np.float32))
        suppression.input[THRESHOLDS[which]] = "limit"

    return edit


def objectness_twice(graph: Graph) -> None:
    """The score is class * objectness * objectness."""
    sigmoids = {node.output[0] for node in nodes(graph, "Sigmoid")}
    products = [n for n in nodes(graph, "Mul") if set(n.input) <= sigmoids]
    score = products[-1]
    name = score.output[0]
    score.output[0] = f"{name}/good"
    again = helper.make_node("Mul", [f"{name}/good", score.input[1]], [name])
    graph.node.insert(list(graph.node).index(score) + 1, again)


def classes(kind: str, *before: float) -> Edit:
    """Something else for the class of each person: an operator of `before` and the class."""

    def edit(graph: Graph) -> None:
        (best,) = nodes(graph, "ArgMax")
        (cast,) = [n for n in nodes(graph, "Cast") if best.output[0] in n.input]
        for i, value in enumerate(before):
            set_initializer(graph, f"class/{i}", np.asarray([value], np.float32))
        name, good = cast.output[0], f"{cast.output[0]}/good"
        cast.output[0] = good
        constants = [f"class/{i}" for i in range(len(before))]
        made = helper.make_node(kind, [*constants, good], [name])
        graph.node.insert(list(graph.node).index(cast) + 1, made)

    return edit


def class_dropped(graph: Graph) -> None:
    """`dets` ends with the score, as in a graph of one class."""
    for name, value in {"from": 0, "to": 5, "axis": 2}.items():
        set_initializer(graph, name, np.asarray([value], np.int64))
    on_output(graph, "dets", through("Slice", "from", "to", "axis"))
    graph.output[0].type.tensor_type.shape.dim[2].dim_value = 5


def no_clipping(graph: Graph) -> None:
    """Boxes may leave the image: the operators that limit them are passed by."""
    limit = nodes(graph, "Min")[-1]
    clip = producer(graph, limit.input[0])
    for node in graph.node:
        node.input[:] = [clip.input[0] if x == limit.output[0] else x for x in node.input]


def stray_padding(graph: Graph) -> None:
    """Rows without a detection keep the box and the keypoints of some prior."""
    for out in graph.output:
        masked = producer(graph, out.name)
        assert masked.op_type == "Where", masked.op_type
        masked.input[2] = masked.input[1]


def corner_and_size(graph: Graph) -> None:
    """Boxes as x, y, w, h where x1, y1, x2, y2 are promised."""
    change = np.eye(5, dtype=np.float32)
    change[0, 2] = change[1, 3] = -1
    set_initializer(graph, "change", change)
    on_output(graph, "dets", through("MatMul", "change"))


def few_rows(count: int) -> Edit:
    """Room for fewer people than the deploy config promises."""

    def edit(graph: Graph) -> None:
        for name, value in {"from": 0, "to": count, "axis": 1}.items():
            set_initializer(graph, name, np.asarray([value], np.int64))
        for out in graph.output:
            on_output(graph, out.name, through("Slice", "from", "to", "axis"))
            out.type.tensor_type.shape.dim[1].dim_value = count

    return edit


def transposed_priors(size: tuple[int, int], strides: tuple[int, ...]) -> Edit:
    """Priors of each level made for a map of (w, h) cells instead of (h, w).

    Args:
        size: (H, W) of the network's input, px.
        strides: Of the levels, px.
    """
    maps = [(size[0] // s, size[1] // s) for s in strides]
    order, start = [], 0
    for h, w in maps:
        # what stands at row y, column x of a map of w rows and h columns
        cells = np.arange(h * w).reshape(h, w)
        order.append(start + cells.T.ravel())
        start += h * w
    turned = np.concatenate(order)

    def edit(graph: Graph) -> None:
        found = [t.name for t in graph.initializer if len(turned) in t.dims]
        assert found, f"no priors of {len(turned)} rows"
        for name in found:
            value = initializer(graph, name)
            axis = value.shape.index(len(turned))
            if value.shape[-1] == 2:  # x, y of each prior
                set_initializer(graph, name, np.take(value, turned, axis=axis))

    return edit


def producer(graph: Graph, name: str) -> Any:
    return next(node for node in graph.node if name in node.output)
