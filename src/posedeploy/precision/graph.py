"""Who makes and who reads what in an ONNX graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Operators with learned weights. A MatMul counts if one of its inputs is an initializer.
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# What these read is a tensor's shape, not its numbers.
_SHAPES = ("Shape", "Size")


@dataclass(frozen=True, eq=False)
class GraphView:
    """An ONNX graph as a network of nodes.

    Attributes:
        graph: The `GraphProto`.
        makers: Tensor name -> the node that puts it out.
        readers: Tensor name -> the nodes that read it.
        weights: Names of initializers.
    """

    graph: Any
    makers: Mapping[str, Any]
    readers: Mapping[str, list[Any]]
    weights: frozenset[str]

    @property
    def nodes(self) -> Iterable[Any]:
        """The nodes in the graph's order."""
        nodes: Iterable[Any] = self.graph.node
        return nodes

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph's outputs."""
        return tuple(value.name for value in self.graph.output)

    def weighted(self, node: Any) -> bool:
        """True if the node multiplies with learned weights."""
        return node.op_type in WEIGHTED and any(name in self.weights for name in node.input)

    def upstream(self, tensors: Iterable[str], stop: Callable[[Any], bool]) -> Iterator[Any]:
        """Nodes whose numbers reach the tensors, nearest first; those where it stops included.

        Args:
            tensors: Where to begin.
            stop: True for nodes beyond which not to go.
        """
        seen: set[str] = set()
        front = list(tensors)
        while front:
            node = self.makers.get(front.pop())
            if node is None or node.name in seen or node.op_type in _SHAPES:
                continue
            seen.add(node.name)
            yield node
            if not stop(node):
                front.extend(node.input)


def graph_view(graph: Any) -> GraphView:
    """Index a `GraphProto`; every node must have a name of its own."""
    readers: dict[str, list[Any]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    return GraphView(
        graph=graph,
        makers={name: node for node in graph.node for name in node.output if name},
        readers=readers,
        weights=frozenset(tensor.name for tensor in graph.initializer),
    )
