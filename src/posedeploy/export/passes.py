"""Passes over an ONNX graph. Each works in place, in one sweep, and changes no number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs inside a node (branches of `If`, bodies of `Loop` and `Scan`)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph, those of subgraphs included."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def rename_inputs(graph: Any, names: dict[str, str]) -> None:
    """Let every reader of a name in `names` read the other one, in subgraphs too."""

    def resolve(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    for node in all_nodes(graph):
        for i, name in enumerate(node.input):
            if name in names:
                node.input[i] = resolve(name)
        for inner in subgraphs(node):
            for output in inner.output:
                output.name = resolve(output.name)


def constants_to_initializers(graph: Any) -> None:
    """Every `Constant` node becomes an initializer; equal values share one."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed: dict[str, str] = {}
    outputs = {value.name for value in graph.output}
    kept = []
    for node in graph.node:
        tensor = _constant_value(node) if node.output[0] not in outputs else None
        if tensor is None:
            kept.append(node)
            continue
        key = (tensor.data_type, tuple(tensor.dims), tensor.raw_data)
        name = first.setdefault(key, node.output[0])
        if name == node.output[0]:
            tensor.name = name
            graph.initializer.append(tensor)
        else:
            renamed[node.output[0]] = name
    _keep_nodes(graph, kept)
    rename_inputs(graph, renamed)


def _constant_value(node: Any) -> Any:
    """The value of a `Constant` node as a tensor with raw data, or None."""
    import numpy as np
    from onnx import numpy_helper

    if node.op_type != "Constant":
        return None
    attribute = node.attribute[0]
    read: dict[str, Callable[[], Any]] = {
        "value": lambda: numpy_helper.to_array(attribute.t),
        "value_float": lambda: np.array(attribute.f, np.float32),
        "value_floats": lambda: np.array(attribute.floats, np.float32),
        "value_int": lambda: np.array(attribute.i, np.int64),
        "value_ints": lambda: np.array(attribute.ints, np.int64),
    }
    value = read.get(attribute.name)
    return numpy_helper.from_array(value()) if value else None


def remove_identities(graph: Any) -> None:
    """Take out every `Identity` but one between a graph input and a graph output.

    An identity in front of a graph output gives its name to the node before it.
    """
    outputs = {value.name for value in graph.output}
    made = {name for node in graph.node for name in node.output}
    renamed: dict[str, str] = {}
    kept = []
    for node in graph.node:
        if node.op_type != "Identity":
            kept.append(node)
            continue
        source, target = renamed.get(node.input[0], node.input[0]), node.output[0]
        if target not in outputs:
            renamed[target] = source
        elif source in made and source not in outputs and source not in renamed.values():
            renamed[source] = target
        else:
            kept.append(node)
    _keep_nodes(graph, kept)
    for node in graph.node:
        for i, name in enumerate(node.output):
            if renamed.get(name) in outputs:
                node.output[i] = renamed[name]
    rename_inputs(graph, renamed)


def drop_unused(graph: Any) -> None:
    """Take out nodes and initializers that no output depends on."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.isdisjoint(node.output):
            continue
        kept.append(node)
        needed.update(node.input)
        for inner in subgraphs(node):
            needed.update(name for item in all_nodes(inner) for name in item.input)
            needed.update(value.name for value in inner.output)
    _keep_nodes(graph, kept[::-1])
    unused = [i for i, tensor in enumerate(graph.initializer) if tensor.name not in needed]
    for i in reversed(unused):
        del graph.initializer[i]


def name_nodes(graph: Any) -> None:
    """Give every node a name, and no two nodes the same."""
    taken: set[str] = set()
    for index, node in enumerate(all_nodes(graph)):
        name = node.name or f"{node.op_type}_{index}"
        if name in taken:
            name = f"{name}_{index}"
        node.name = name
        taken.add(name)


def _keep_nodes(graph: Any, nodes: list[Any]) -> None:
    if len(nodes) != len(graph.node):
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
