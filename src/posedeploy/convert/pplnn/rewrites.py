"""What PPLNN lacks or computes wrongly, rewritten in an ONNX graph into what it has.

| in the graph | here | why |
|---|---|---|
| bilinear `Resize` with aligned corners | two products with constant matrices | no kernel |
| `ReduceL2` | `Sqrt(ReduceSum(x * x))` | no kernel |
| `Split` | one `Slice` a part | no kernel from opset 13 on |
| `Squeeze`, `Unsqueeze` | `Reshape` | likewise |

Shapes must be static: they come from ONNX's own shape inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.convert.pplnn.operators import resize_kind

Shapes = Mapping[str, tuple[int, ...]]
# What exporters write between a `Shape` and the `Reshape` that it is for
_OF_SIZES = frozenset({"Cast", "Concat", "Gather", "Slice", "Unsqueeze"})


@dataclass
class Graph:
    """What a rewrite reads and adds to.

    Attributes:
        shapes: Shape of every value that has a static one.
        constants: Initializers by name.
        added: New initializers.
    """

    shapes: Shapes
    constants: Mapping[str, Any]
    added: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """The name of a new initializer."""
        from onnx import numpy_helper

        self.added.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def integers(self, name: str) -> list[int]:
        """The value of an initializer of integers."""
        from onnx import numpy_helper

        return [int(v) for v in numpy_helper.to_array(self.constants[name]).ravel()]


Rewrite = Callable[[Any, Graph], Iterator[Any]]


def rewrite(proto: Any) -> None:
    """Rewrite a `ModelProto` in place: shapes become constants, then what `REWRITES` names."""
    _apply(proto, _folded)
    _apply(proto, _replaced)
    read = {name for node in proto.graph.node for name in node.input}
    used = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(copies)


def _apply(proto: Any, change: Rewrite) -> None:
    graph = Graph(shapes(proto), {t.name: t for t in proto.graph.initializer})
    nodes = [new for node in proto.graph.node for new in change(node, graph)]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    proto.graph.initializer.extend(graph.added)


def shapes(proto: Any) -> Shapes:
    """Shape of every value of a `ModelProto` whose sizes ONNX can infer."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True).graph
    found = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        kind = value.type.tensor_type
        dims = [d.dim_value for d in kind.shape.dim]
        if kind.HasField("shape") and all(size > 0 for size in dims):
            found[value.name] = tuple(int(size) for size in dims)
    return found


def _folded(node: Any, graph: Graph) -> Iterator[Any]:
    """Sizes that are asked for, and what is computed of them alone, as constants."""
    value = _size_arithmetic(node, graph)
    if value is None:
        yield node
    else:
        graph.constant(node.output[0], value)


def _size_arithmetic(node: Any, graph: Graph) -> NDArray[Any] | None:
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Shape" and node.input[0] in graph.shapes and not node.attribute:
        return np.array(graph.shapes[node.input[0]], np.int64)
    constants = {t.name: t for t in graph.added} | dict(graph.constants)
    if node.op_type not in _OF_SIZES or not all(name in constants for name in node.input):
        return None
    values = {name: numpy_helper.to_array(constants[name]) for name in node.input}
    result: NDArray[Any] = ReferenceEvaluator(node).run(None, values)[0]
    return result


def _replaced(node: Any, graph: Graph) -> Iterator[Any]:
    row = REWRITES.get(node.op_type)
    yield from row(node, graph) if row else (node,)


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> Any:
    import onnx

    return onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)


def interpolation(size: int, target: int) -> NDArray[np.float32]:
    """`[target, size]`: linear interpolation with aligned corners as a matrix.

    Row i reads the place `i * (size - 1) / (target - 1)`, as ONNX defines align_corners.
    """
    place = np.linspace(0, size - 1, target) if target > 1 else np.zeros(1)
    left = np.minimum(np.floor(place).astype(int), max(size - 2, 0))
    matrix = np.zeros((target, size))
    share = place - left
    matrix[np.arange(target), left] = 1 - share
    matrix[np.arange(target), np.minimum(left + 1, size - 1)] += share
    return matrix.astype(np.float32)


def _resize(node: Any, graph: Graph) -> Iterator[Any]:
    x, y = node.input[0], node.output[0]
    if resize_kind(node)[:2] != ("linear", "align_corners") or not {x, y} <= set(graph.shapes):
        yield node
        return
    (height, width), (taller, wider) = graph.shapes[x][2:], graph.shapes[y][2:]
    rows = graph.constant(f"{y}.rows", interpolation(height, taller))
    columns = graph.constant(f"{y}.columns", interpolation(width, wider).T)
    yield _node("MatMul", [x, columns], f"{y}.wide")
    yield _node("MatMul", [rows, f"{y}.wide"], y)


def _reduce_l2(node: Any, graph: Graph) -> Iterator[Any]:
    import onnx

    x, y = node.input[0], node.output[0]
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    axes = graph.constant(f"{y}.axes", np.array(found.get("axes", []), np.int64))
    yield _node("Mul", [x, x], f"{y}.squares")
    inputs = [f"{y}.squares", axes] if "axes" in found else [f"{y}.squares"]
    yield _node("ReduceSum", inputs, f"{y}.sum", keepdims=int(found.get("keepdims", 1)))
    yield _node("Sqrt", [f"{y}.sum"], y)


def _split(node: Any, graph: Graph) -> Iterator[Any]:
    import onnx

    x = node.input[0]
    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    axis = int(found.get("axis", 0))
    if x not in graph.shapes:
        yield node
        return
    equal = [graph.shapes[x][axis] // len(node.output)] * len(node.output)
    parts = graph.integers(node.input[1]) if len(node.input) > 1 else equal
    ends = np.cumsum(parts)
    for y, start, end in zip(node.output, ends - parts, ends, strict=True):
        bounds = (("start", start), ("end", end), ("axis", axis))
        names = [graph.constant(f"{y}.{word}", np.array([v], np.int64)) for word, v in bounds]
        yield _node("Slice", [x, *names], y)


def _reshape(node: Any, graph: Graph) -> Iterator[Any]:
    y = node.output[0]
    if y not in graph.shapes:
        yield node
        return
    shape = graph.constant(f"{y}.shape", np.array(graph.shapes[y], np.int64))
    yield _node("Reshape", [node.input[0], shape], y)


# ---- modify this table to add a rewrite ------------------------------------------------------
# fmt: off
REWRITES: Mapping[str, Rewrite] = {
    "ReduceL2":  _reduce_l2,
    "Resize":    _resize,
    "Split":     _split,
    "Squeeze":   _reshape,
    "Unsqueeze": _reshape,
}
# fmt: on
# ------------------------------------------------------------------------------------------------
