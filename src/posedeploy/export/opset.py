"""Opset 18 → 17, for clients that read no more.

The dynamo exporter writes 18.  ONNX's own converter lacks `Split` and stops at reductions whose
axes are not a constant node, so the few operators whose definition changed from 17 to 18 are
rewritten here; one that has no row is named instead of being written wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

OLD, NEW = 17, 18


def lower(proto: Any) -> list[str]:
    """Rewrite a `ModelProto` of opset 18 as opset 17, in place, if every node can be.

    Returns:
        The operators that stand in the way; the model is changed only if there are none.
    """
    import onnx

    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    changed = []
    for node in proto.graph.node:
        definition = onnx.defs.get_schema(node.op_type, NEW, node.domain)
        if definition.since_version == NEW:
            changed.append(node)
    obstacles = [n.op_type for n in changed if not _can_lower(n, constants)]
    if obstacles:
        return sorted(set(obstacles))
    for node in changed:
        _REWRITES[node.op_type](node, constants)
    for entry in proto.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = OLD
    return []


def _can_lower(node: Any, constants: Mapping[str, Any]) -> bool:
    if node.op_type in _REDUCTIONS:
        return len(node.input) < 2 or node.input[1] in constants
    if node.op_type == "Pad":
        return len(node.input) < 4  # the fourth input, axes, is new
    if node.op_type in {"ScatterElements", "ScatterND"}:
        return _attribute(node, "reduction") not in {b"max", b"min"}
    if node.op_type == "Resize":
        return not _attribute(node, "antialias") and not _attribute(node, "axes")
    return node.op_type in _REWRITES


def _attribute(node: Any, name: str) -> Any:
    import onnx

    found = [onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name]
    return found[0] if found else None


def _drop_attributes(node: Any, *names: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in names]
    del node.attribute[:]
    node.attribute.extend(kept)


def _axes_to_attribute(node: Any, constants: Mapping[str, Any]) -> None:
    import onnx

    if len(node.input) > 1:
        axes = onnx.numpy_helper.to_array(constants[node.input[1]]).tolist()
        del node.input[1:]
        node.attribute.append(onnx.helper.make_attribute("axes", axes))
    _drop_attributes(node, "noop_with_empty_axes")


def _same(_node: Any, _constants: Mapping[str, Any]) -> None:
    """Only what the node does not use is new in 18."""


# fmt: off
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare",
)
_REWRITES: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    **dict.fromkeys(_REDUCTIONS, _axes_to_attribute),
    "Pad":             _same,
    "Resize":          lambda node, _: _drop_attributes(
        node, "antialias", "keep_aspect_ratio_policy"),
    "ScatterElements": _same,
    "ScatterND":       _same,
    # 17 divides evenly or not at all: the checker's shape inference refuses a rest
    "Split":           lambda node, _: _drop_attributes(node, "num_outputs"),
}
# fmt: on
