"""Defects of an ONNX graph. Nodes are found by what they are, never by an exporter's names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from suites.defects.planting import Array, Graph, initializer, set_initializer

Edit = Callable[[Graph], None]
SIMCC = ("simcc_x", "simcc_y")
FLIP = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)  # COCO: left and right


def nodes(graph: Graph, kind: str) -> list[Any]:
    return [node for node in graph.node if node.op_type == kind]


def set_attributes(node: Any, **values: Any) -> None:
    kept = [a for a in node.attribute if a.name not in values]
    del node.attribute[:]
    node.attribute.extend([*kept, *(helper.make_attribute(n, v) for n, v in values.items())])


def on_output(graph: Graph, name: str, make: Callable[[str, str], Sequence[Any]]) -> None:
    """Put nodes between what computes an output and the output itself."""
    inner = f"{name}/good"
    for node in graph.node:
        node.input[:] = [inner if x == name else x for x in node.input]
        node.output[:] = [inner if x == name else x for x in node.output]
    graph.node.extend(make(inner, name))


def through(kind: str, *more: str, **attributes: Any) -> Callable[[str, str], Sequence[Any]]:
    """One operator; `more` are its inputs after the first."""
    return lambda a, b: [helper.make_node(kind, [a, *more], [b], **attributes)]


def on_every_output(graph: Graph, kind: str, *more: str) -> None:
    """The same operator behind every output."""
    for name in [o.name for o in graph.output]:
        on_output(graph, name, through(kind, *more))


def on_input(graph: Graph, make: Callable[[str, str], Sequence[Any]]) -> None:
    """Put nodes between the input and all that reads it."""
    name = graph.input[0].name
    inner = f"{name}/bad"
    for node in graph.node:
        node.input[:] = [inner if x == name else x for x in node.input]
    made = list(make(name, inner))
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*made, *rest])


def resize(
    mode: str | None = None,
    coordinates: str | None = None,
    nearest: str | None = None,
    of: str = "linear",
) -> Edit:
    """Another kind of upsampling, wherever there is one of mode `of`."""
    names = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    values = {name: value for name, value in names.items() if value is not None}

    def edit(graph: Graph) -> None:
        found = [n for n in nodes(graph, "Resize") if _text(n, "mode") == of]
        assert found, f"no Resize of mode {of}"
        for node in found:
            set_attributes(node, **values)

    return edit


def _text(node: Any, name: str) -> str:
    return str(next(a.s.decode() for a in node.attribute if a.name == name))


def every(kind: str, first: bool = False, **values: Any) -> Edit:
    """Other attributes for every operator of a kind, or for the first alone."""

    def edit(graph: Graph) -> None:
        found = nodes(graph, kind)
        assert found, f"no {kind}"
        for node in found[: 1 if first else None]:
            set_attributes(node, **values)

    return edit


def replace_kind(kind: str, other: str, **attributes: Any) -> Edit:
    """Another operator in place of the last one of a kind."""

    def edit(graph: Graph) -> None:
        node = nodes(graph, kind)[-1]
        node.op_type = other
        del node.attribute[:]
        set_attributes(node, **attributes)

    return edit


def swap_outputs(graph: Graph) -> None:
    """Both names stay, each on the other's tensor; shapes are declared anew."""
    swap = dict(zip(SIMCC, reversed(SIMCC), strict=True))
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [swap.get(n, n) for n in names]
    by_name = {o.name: o for o in graph.output}
    x, y = (by_name[name] for name in SIMCC)
    kept = onnx.TypeProto()
    kept.CopyFrom(x.type)
    x.type.CopyFrom(y.type)
    y.type.CopyFrom(kept)


def drop_output(graph: Graph) -> None:
    del graph.output[-1]


def rename_output(graph: Graph) -> None:
    name = graph.output[0].name
    for node in graph.node:
        node.output[:] = ["heatmaps" if x == name else x for x in node.output]
    graph.output[0].name = "heatmaps"


def transpose_output(graph: Graph) -> None:
    """`[N, K, H, W]` as `[N, K, W, H]`, and declared so."""
    out = graph.output[0]
    on_output(graph, out.name, through("Transpose", perm=[0, 1, 3, 2]))
    dims = out.type.tensor_type.shape.dim
    dims[2].dim_value, dims[3].dim_value = dims[3].dim_value, dims[2].dim_value


def permute_keypoints(graph: Graph) -> None:
    """Left and right change places in every output that has keypoints."""
    set_initializer(graph, "flip", np.asarray(FLIP, np.int64))
    for out in graph.output:
        dims = [d.dim_value for d in out.type.tensor_type.shape.dim]
        if len(FLIP) in dims:
            on_output(graph, out.name, through("Gather", "flip", axis=dims.index(len(FLIP))))


def first_sample_only(graph: Graph) -> None:
    """Every image of a batch gets the first one's result."""
    set_initializer(graph, "first", np.zeros(1, np.int64))
    on_input(graph, lambda a, b: [
        helper.make_node("Gather", [a, "first"], ["one"], axis=0),
        helper.make_node("Shape", [a], ["whole"]),
        helper.make_node("Expand", ["one", "whole"], [b]),
    ])  # fmt: skip


def freeze_batch(graph: Graph) -> None:
    """The batch is declared as 1, as an export without dynamic axes does."""
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1


def freeze_reshapes(graph: Graph) -> None:
    """Batch 1 is baked into every output, while a dynamic batch is declared."""
    for i, out in enumerate(graph.output):
        sizes = [1, *(d.dim_value for d in out.type.tensor_type.shape.dim[1:])]
        name = f"frozen{i}"
        set_initializer(graph, name, np.asarray(sizes, np.int64))
        on_output(graph, out.name, through("Reshape", name))


def constant_output(graph: Graph) -> None:
    set_initializer(graph, "nothing", np.zeros(1, np.float32))
    on_every_output(graph, "Mul", "nothing")


def ignore_input(graph: Graph) -> None:
    """A image of zeros is what the network sees."""
    set_initializer(graph, "nothing", np.zeros(1, np.float32))
    on_input(graph, through("Mul", "nothing"))


def normalize_twice(graph: Graph) -> None:
    """The graph normalizes, and so does the pipeline."""
    set_initializer(graph, "mean", np.full((1, 3, 1, 1), 0.45, np.float32))
    set_initializer(graph, "std", np.full((1, 3, 1, 1), 0.225, np.float32))
    on_input(graph, lambda a, b: [
        helper.make_node("Sub", [a, "mean"], ["centered"]),
        helper.make_node("Div", ["centered", "std"], [b]),
    ])  # fmt: skip


def brighter(graph: Graph) -> None:
    set_initializer(graph, "gain", np.asarray([1 + 1e-6], np.float32))
    on_input(graph, through("Mul", "gain"))


def shift_output(graph: Graph) -> None:
    """Heatmaps one cell to the right, as a pooling or padding off by one does."""
    set_initializer(graph, "pads", np.asarray([0, 0, 0, 1, 0, 0, 0, -1], np.int64))
    on_every_output(graph, "Pad", "pads")


def _where_bright(flat: str, shape: str, source: str, target: str) -> list[Any]:
    """NaN in place of an output where the flag 'bright' is set."""
    return [
        helper.make_node("Reshape", ["bright", shape], [flat]),
        helper.make_node("Where", [flat, "nan", source], [target]),
    ]


def nan_for_bright(threshold: float) -> Edit:
    """NaN in all outputs of an image whose mean exceeds a threshold."""

    def edit(graph: Graph) -> None:
        limit, nan = np.asarray(threshold, np.float32), np.asarray(np.nan, np.float32)
        set_initializer(graph, "limit", limit)
        set_initializer(graph, "nan", nan)
        source = graph.input[0].name
        tests = [
            helper.make_node("ReduceMean", [source], ["mean"], axes=[1, 2, 3], keepdims=1),
            helper.make_node("Greater", ["mean", "limit"], ["bright"]),
        ]
        for out in list(graph.output):
            rank = len(out.type.tensor_type.shape.dim)
            flat, shape = f"{out.name}/bright", f"{out.name}/rank"
            set_initializer(graph, shape, np.asarray([-1] + [1] * (rank - 1), np.int64))
            on_output(graph, out.name, functools.partial(_where_bright, flat, shape))
        rest = list(graph.node)
        del graph.node[:]
        graph.node.extend([*tests, *rest])

    return edit


def overflowing_norm(graph: Graph) -> None:
    """ScaleNorm's largest norm of a batch is infinite, as a sum of squares in fp16 becomes.

    The overflow itself is planted, not the type: ONNX Runtime computes fp16 in float32 on a CPU.
    """
    norm = nodes(graph, "ReduceL2")[0]
    where, target = list(graph.node).index(norm), norm.output[0]
    norm.output[0] = "norm"
    set_initializer(graph, "infinite", np.asarray(np.inf, np.float32))
    made = [
        helper.make_node("ReduceMax", ["norm"], ["largest"], keepdims=1),
        helper.make_node("Less", ["norm", "largest"], ["fits"]),
        helper.make_node("Where", ["fits", "norm", "infinite"], [target]),
    ]
    for offset, node in enumerate(made, 1):
        graph.node.insert(where + offset, node)


def weights(change: Callable[[Array], Array], every_one: bool = False) -> Edit:
    """Change the weights of the convolution in the middle, or of all of them."""

    def edit(graph: Graph) -> None:
        convs = nodes(graph, "Conv")
        for conv in convs if every_one else [convs[len(convs) // 2]]:
            name = conv.input[1]
            set_initializer(graph, name, change(initializer(graph, name)).astype(np.float32))

    return edit


def bias_on_one_conv(graph: Graph) -> None:
    convs = [n for n in nodes(graph, "Conv") if len(n.input) == 3]
    name = convs[len(convs) // 2].input[2]
    value = initializer(graph, name)
    set_initializer(graph, name, (value + 1e-3 * (np.abs(value).max() + 1)).astype(np.float32))
