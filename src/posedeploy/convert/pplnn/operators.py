"""What PPLNN's x86 engine has kernels for, and what of a graph it has none for.

The table is that of the engine's registrations (`opt_kernel_creator_manager.cc` of PPLNN 0.9,
src/ppl/nn/engines/x86/optimizer), for the operators that exported pose models hold: first and last
opset.  An operator is looked up by the opset of the whole model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# ---- modify this table when PPLNN learns an operator ----------------------------------------
# fmt: off
KERNELS: Mapping[str, tuple[int, int]] = {
    "Abs":                (6, 16),  "Add":               (7, 16),  "And":            (7, 16),
    "ArgMax":             (1, 11),  "AveragePool":       (1, 16),
    "BatchNormalization": (9, 13),
    "Cast":               (9, 16),  "Ceil":              (6, 16),  "Clip":           (6, 16),
    "Concat":             (4, 16),  "ConstantOfShape":   (9, 16),  "Conv":           (1, 16),
    "ConvTranspose":      (1, 16),  "Cos":               (7, 16),  "CumSum":         (11, 16),
    "DepthToSpace":       (1, 16),  "Div":               (7, 16),
    "Equal":              (7, 16),  "Erf":               (9, 16),  "Exp":            (6, 16),
    "Expand":             (8, 16),
    "Flatten":            (1, 16),  "Floor":             (6, 16),
    "Gather":             (1, 16),  "GatherND":          (11, 11), "Gemm":           (9, 16),
    "GlobalAveragePool":  (1, 16),  "Greater":           (7, 16),
    "HardSigmoid":        (6, 16),  "HardSwish":         (14, 16),
    "Identity":           (1, 13),  "If":                (1, 12),
    "LeakyRelu":          (6, 16),  "Less":              (7, 16),  "Log":            (6, 16),
    "Loop":               (1, 12),
    "MatMul":             (1, 16),  "Max":               (6, 16),  "MaxPool":        (1, 16),
    "Min":                (6, 16),  "Mul":               (7, 16),
    "NonMaxSuppression":  (10, 16), "NonZero":           (9, 12),  "Not":            (1, 16),
    "OneHot":             (9, 11),
    "PRelu":              (6, 16),  "Pad":               (2, 16),  "Pow":            (7, 16),
    "Range":              (11, 16), "ReduceMax":         (1, 16),  "ReduceMean":     (1, 16),
    "ReduceMin":          (1, 16),  "ReduceProd":        (1, 16),  "ReduceSum":      (1, 16),
    "Relu":               (6, 16),  "Reshape":           (5, 13),  "Resize":         (11, 16),
    "ScatterElements":    (11, 15), "ScatterND":         (11, 15), "Shape":          (1, 14),
    "Sigmoid":            (6, 16),  "Sign":              (9, 16),  "Sin":            (7, 16),
    "Slice":              (1, 16),  "Softmax":           (1, 16),  "Split":          (2, 12),
    "Sqrt":               (6, 16),  "Squeeze":           (1, 12),  "Sub":            (7, 16),
    "Sum":                (6, 16),
    "Tanh":               (6, 16),  "Tile":              (6, 16),  "TopK":           (1, 16),
    "Transpose":          (1, 16),
    "Unsqueeze":          (1, 12),
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


def obstacles(proto: Any) -> list[str]:
    """What of an ONNX graph PPLNN has no kernel for, one sentence a kind, sorted."""
    opset = next(e.version for e in proto.opset_import if e.domain in {"", "ai.onnx"})
    return sorted({text for node in proto.graph.node for text in _of_node(node, int(opset))})


def _of_node(node: Any, opset: int) -> Iterator[str]:
    if node.domain not in {"", "ai.onnx"}:
        yield f"{node.op_type} of domain {node.domain}: no kernel"
        return
    span = KERNELS.get(node.op_type)
    if span is None:
        yield f"{node.op_type}: no kernel"
    elif not span[0] <= opset <= span[1]:
        yield f"{node.op_type}: kernels for opset {span[0]} to {span[1]}, the graph has {opset}"
    elif node.op_type == "Resize":
        kind = resize_kind(node)
        if kind not in RESIZES:
            yield f"Resize ({', '.join(filter(None, kind))}): no kernel"


def resize_kind(node: Any) -> tuple[str, str, str]:
    """Mode, coordinate transformation, rounding of the nearest; with ONNX's defaults."""
    import onnx

    found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    mode = found.get("mode", b"nearest").decode()
    where = found.get("coordinate_transformation_mode", b"half_pixel").decode()
    rounding = found.get("nearest_mode", b"round_prefer_floor").decode()
    return mode, where, rounding if mode == "nearest" else ""
