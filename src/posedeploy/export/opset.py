"""Opset 18 → 17, for clients that read no more.

The dynamo exporter writes 18. ONNX's own converter lacks `Split` and stops at reductions whose
axes are not a constant node, and onnxscript's converts upwards only, so the few operators whose
definition changed from 17 to 18 are rewritten here. An operator without a row is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OLD, NEW = 17, 18


def lower(model: Any) -> list[str]:
    """Rewrite an `onnx_ir.Model` of opset 18 as opset 17, in place, if every node can be.

    Returns:
        The operators that cannot be rewritten; the model is changed only if there are none.
    """
    import onnx

    changed = [
        node
        for node in model.graph
        if onnx.defs.get_schema(node.op_type, NEW, node.domain).since_version == NEW
    ]
    obstacles = {node.op_type for node in changed if not _can_lower(node)}
    if obstacles:
        return sorted(obstacles)
    for node in changed:
        _REWRITES[node.op_type](node)
    model.opset_imports[""] = OLD
    return []


def _can_lower(node: Any) -> bool:
    if node.op_type in _REDUCTIONS:
        return len(node.inputs) < 2 or node.inputs[1].is_initializer()
    if node.op_type == "Pad":
        return len(node.inputs) < 4  # the fourth input, axes, is new
    if node.op_type in {"ScatterElements", "ScatterND"}:
        return node.attributes.get_string("reduction", "none") not in {"max", "min"}
    if node.op_type == "Resize":
        attributes = node.attributes
        return not attributes.get_int("antialias", 0) and not attributes.get_ints("axes", ())
    return node.op_type in _REWRITES


def _drop_attributes(node: Any, *names: str) -> None:
    for name in names:
        node.attributes.pop(name, None)


def _axes_to_attribute(node: Any) -> None:
    import onnx_ir as ir

    if len(node.inputs) > 1:
        axes = node.inputs[1].const_value.numpy().tolist()
        node.resize_inputs(1)
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)
    _drop_attributes(node, "noop_with_empty_axes")


def _same(_node: Any) -> None:
    """Nothing to change: what is new in 18 is not used by the node."""


# fmt: off
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare",
)
_REWRITES: Mapping[str, Callable[[Any], None]] = {
    **dict.fromkeys(_REDUCTIONS, _axes_to_attribute),
    "Pad":             _same,
    "Resize":          lambda node: _drop_attributes(
        node, "antialias", "keep_aspect_ratio_policy"),
    "ScatterElements": _same,
    "ScatterND":       _same,
    # 17 divides evenly or not at all: the checker's shape inference refuses a rest
    "Split":           lambda node: _drop_attributes(node, "num_outputs"),
}
# fmt: on
