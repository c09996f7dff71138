"""PPLNN: the exported ONNX graph, in the operators that its engines have.

What PPLNN lacks or computes wrongly is rewritten:

| in the graph | here | why |
|---|---|---|
| `ArgMax` | the place that `TopK` of one finds | no kernel from opset 12 on |
| bilinear `Resize` with aligned corners | two products with constant matrices | no kernel |
| `ReduceL2` | `Sqrt(ReduceSum(x * x))` | no kernel |
| `Split` | one `Slice` a part | no kernel from opset 13 on |
| `Squeeze`, `Unsqueeze` | `Reshape` | likewise |

Shapes must be static: they come from ONNX's own shape inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted, Declared, refuse_dynamic_batch
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import StoredPrecision, TensorInfo, backend_row

# What the x86 engine has kernels for, for the operators that exported pose models hold: first and
# last opset (`opt_kernel_creator_manager.cc` of PPLNN 0.9, src/ppl/nn/engines/x86/optimizer). An
# operator is looked up by the opset of the whole model.
# ---- modify this table when PPLNN gets an operator ----------------------------------------
# fmt: off
KERNELS: Mapping[str, tuple[int, int]] = {
    "Abs":                (6, 16),  "Add":                (7, 16),  "And":                (7, 16),
    "ArgMax":             (1, 11),  "AveragePool":        (1, 16),  "BatchNormalization": (9, 13),
    "Cast":               (9, 16),  "Ceil":               (6, 16),  "Clip":               (6, 16),
    "Concat":             (4, 16),  "ConstantOfShape":    (9, 16),  "Conv":               (1, 16),
    "ConvTranspose":      (1, 16),  "Cos":                (7, 16),  "CumSum":             (11, 16),
    "DepthToSpace":       (1, 16),  "Div":                (7, 16),  "Equal":              (7, 16),
    "Erf":                (9, 16),  "Exp":                (6, 16),  "Expand":             (8, 16),
    "Flatten":            (1, 16),  "Floor":              (6, 16),  "Gather":             (1, 16),
    "GatherND":           (11, 11), "Gemm":               (9, 16),  "GlobalAveragePool":  (1, 16),
    "Greater":            (7, 16),  "HardSigmoid":        (6, 16),  "HardSwish":          (14, 16),
    "Identity":           (1, 13),  "If":                 (1, 12),  "LeakyRelu":          (6, 16),
    "Less":               (7, 16),  "Log":                (6, 16),  "Loop":               (1, 12),
    "MatMul":             (1, 16),  "Max":                (6, 16),  "MaxPool":            (1, 16),
    "Min":                (6, 16),  "Mul":                (7, 16),  "NonMaxSuppression":  (10, 16),
    "NonZero":            (9, 12),  "Not":                (1, 16),  "OneHot":             (9, 11),
    "PRelu":              (6, 16),  "Pad":                (2, 16),  "Pow":                (7, 16),
    "Range":              (11, 16), "ReduceMax":          (1, 16),  "ReduceMean":         (1, 16),
    "ReduceMin":          (1, 16),  "ReduceProd":         (1, 16),  "ReduceSum":          (1, 16),
    "Relu":               (6, 16),  "Reshape":            (5, 13),  "Resize":             (11, 16),
    "ScatterElements":    (11, 15), "ScatterND":          (11, 15), "Shape":              (1, 14),
    "Sigmoid":            (6, 16),  "Sign":               (9, 16),  "Sin":                (7, 16),
    "Slice":              (1, 16),  "Softmax":            (1, 16),  "Split":              (2, 12),
    "Sqrt":               (6, 16),  "Squeeze":            (1, 12),  "Sub":                (7, 16),
    "Sum":                (6, 16),  "Tanh":               (6, 16),  "Tile":               (6, 16),
    "TopK":               (1, 16),  "Transpose":          (1, 16),  "Unsqueeze":          (1, 12),
    "Where":              (9, 16),
}
# Of Resize it has these (mode, coordinate_transformation_mode, nearest_mode where it matters)
RESIZES = frozenset({
    ("nearest", "asymmetric", "floor"),
    ("linear",  "pytorch_half_pixel", ""),
    ("linear",  "half_pixel",         ""),
    ("cubic",   "pytorch_half_pixel", ""),
})
# fmt: on
# ----------------------------------------------------------------------------------------------

Shapes = Mapping[str, tuple[int, ...]]
# What exporters write between a `Shape` and the `Reshape` that it is for
_OF_SIZES = frozenset({"Cast", "Concat", "Gather", "Slice", "Unsqueeze"})


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """Rewrites the graph, and refuses it by name of what PPLNN cannot run.

    fp16 is the same file: PPLNN's CUDA engine rounds the weights when it loads them.  Nothing of
    PPLNN is needed to convert, so this works where it is not installed.
    """
    del calibration
    import onnx

    refuse_dynamic_batch(deploy_config, "The graph is rewritten for one shape")
    proto = onnx.load(ir)
    rewrite(proto)
    if missing := obstacles(proto):
        raise ConversionError(
            "convert", str(ir), "; ".join(missing), "operators of PPLNN's x86 engine",
            "Set onnx_config.opset_version to 13 if it is higher; else rewrite them in "
            "posedeploy/convert/pplnn.py, or choose another backend.",
        )  # fmt: skip
    main_file = backend_row("pplnn").main_file
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, folder / main_file)
    sizes = shapes(proto)
    inputs, outputs = (
        tuple(TensorInfo(value.name, sizes[value.name], "float32") for value in values)
        for values in (proto.graph.input, proto.graph.output)
    )
    precision = StoredPrecision(deploy_config.precision)
    return Converted((main_file,), precision, Declared(inputs, outputs))


def obstacles(proto: Any) -> list[str]:
    """What of an ONNX graph PPLNN has no kernel for, one sentence a kind, sorted."""
    opset = next(e.version for e in proto.opset_import if e.domain in {"", "ai.onnx"})
    missing = set()
    for node in proto.graph.node:
        name, (first, last) = node.op_type, KERNELS.get(node.op_type, (0, 0))
        if node.domain not in {"", "ai.onnx"}:
            missing.add(f"{name} of domain {node.domain}: no kernel")
        elif not last:
            missing.add(f"{name}: no kernel")
        elif not first <= opset <= last:
            missing.add(f"{name}: kernels for opset {first} to {last}, the graph has {opset}")
        elif name == "Resize" and (kind := resize_kind(node)) not in RESIZES:
            missing.add(f"Resize ({', '.join(filter(None, kind))}): no kernel")
    return sorted(missing)


def resize_kind(node: Any) -> tuple[str, str, str]:
    """Mode, coordinate transformation, rounding of the nearest; with ONNX's defaults."""
    values = _attributes(node)
    mode = values.get("mode", b"nearest").decode()
    transformation = values.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = values.get("nearest_mode", b"round_prefer_floor").decode()
    return mode, transformation, rounding if mode == "nearest" else ""


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


@dataclass
class Graph:
    """What a rewrite reads and adds to: static shapes, initializers by name, new initializers."""

    shapes: Shapes
    constants: Mapping[str, Any]
    added: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """The name of a new initializer."""
        from onnx import numpy_helper

        self.added.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name


Rewrite = Callable[[Any, Graph], Iterator[Any]]


def rewrite(proto: Any) -> None:
    """Rewrite a `ModelProto` in place: shapes become constants, then what `REWRITES` names."""
    _apply(proto, _folded)
    _apply(proto, _replaced)
    read = {name for node in proto.graph.node for name in node.input}
    tensors = proto.graph.initializer
    for index in reversed(range(len(tensors))):
        if tensors[index].name not in read:
            del tensors[index]


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
    sizes = {}
    for value in (*inferred.value_info, *inferred.input, *inferred.output):
        kind = value.type.tensor_type
        dims = [d.dim_value for d in kind.shape.dim]
        if kind.HasField("shape") and all(size > 0 for size in dims):
            sizes[value.name] = tuple(int(size) for size in dims)
    return sizes


def _folded(node: Any, graph: Graph) -> Iterator[Any]:
    """Sizes that are read, and what is computed from them alone, as constants."""
    from onnx import numpy_helper
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Shape" and node.input[0] in graph.shapes and not node.attribute:
        graph.constant(node.output[0], np.array(graph.shapes[node.input[0]], np.int64))
        return
    constants = {t.name: t for t in graph.added} | dict(graph.constants)
    if node.op_type in _OF_SIZES and all(name in constants for name in node.input):
        values = {name: numpy_helper.to_array(constants[name]) for name in node.input}
        graph.constant(node.output[0], ReferenceEvaluator(node).run(None, values)[0])
    else:
        yield node


def _replaced(node: Any, graph: Graph) -> Iterator[Any]:
    change = REWRITES.get(node.op_type)
    yield from change(node, graph) if change else (node,)


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


def _arg_max(node: Any, graph: Graph) -> Iterator[Any]:
    """Of equal values both take the first; `TopK` leaves the axis, `ArgMax` may remove it."""
    import onnx

    x, y, values = node.input[0], node.output[0], _attributes(node)
    if y not in graph.shapes:
        yield node
        return
    axis, one = int(values.get("axis", 0)), graph.constant(f"{y}.k", np.array([1], np.int64))
    yield onnx.helper.make_node(
        "TopK", [x, one], [f"{y}.value", f"{y}.top"], f"{y}.topk", axis=axis
    )
    shape = graph.constant(f"{y}.shape", np.array(graph.shapes[y], np.int64))
    yield _node("Reshape", [f"{y}.top", shape], y)


def _reduce_l2(node: Any, graph: Graph) -> Iterator[Any]:
    x, y, values = node.input[0], node.output[0], _attributes(node)
    yield _node("Mul", [x, x], f"{y}.squares")
    inputs = [f"{y}.squares"]
    if "axes" in values:
        inputs.append(graph.constant(f"{y}.axes", np.array(values["axes"], np.int64)))
    yield _node("ReduceSum", inputs, f"{y}.sum", keepdims=int(values.get("keepdims", 1)))
    yield _node("Sqrt", [f"{y}.sum"], y)


def _split(node: Any, graph: Graph) -> Iterator[Any]:
    from onnx import numpy_helper

    x, axis = node.input[0], int(_attributes(node).get("axis", 0))
    if x not in graph.shapes:
        yield node
        return
    if len(node.input) > 1:
        parts = numpy_helper.to_array(graph.constants[node.input[1]])
    else:
        parts = np.full(len(node.output), graph.shapes[x][axis] // len(node.output))
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
    "ArgMax":    _arg_max,
    "ReduceL2":  _reduce_l2,
    "Resize":    _resize,
    "Split":     _split,
    "Squeeze":   _reshape,
    "Unsqueeze": _reshape,
}
# fmt: on
# ------------------------------------------------------------------------------------------------
