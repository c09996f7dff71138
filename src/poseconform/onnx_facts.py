"""What is in an ONNX file, read from the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .outcome import GraphRecord

OPSETS = (17, 18)  # readable by mmdeploy-runtime 1.3.1 and by every backend here


@dataclass(frozen=True)
class GraphFacts:
    """One ONNX file.

    Attributes:
        record: Operators, nodes, opset, IR version.
        domains: Domains of the operators.
        inputs: Input name -> shape; a str entry is a dynamic dimension's name.
        outputs: Output name -> shape.
        external_data: Initialisers whose data lie outside the file.
        training: Nodes in training mode.
    """

    record: GraphRecord
    domains: set[str]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    external_data: tuple[str, ...]
    training: tuple[str, ...]


def graph_facts(path: Path) -> GraphFacts:
    """Read an ONNX file.

    Raises:
        onnx.onnx_cpp2py_export.checker.ValidationError, DecodeError: It is no ONNX file.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    ops = Counter(node.op_type for node in model.graph.node)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    return GraphFacts(
        record=GraphRecord(dict(ops), sum(ops.values()), opsets.get(""), model.ir_version),
        domains={node.domain for node in model.graph.node},
        inputs={value.name: _shape(value) for value in model.graph.input},
        outputs={value.name: _shape(value) for value in model.graph.output},
        external_data=tuple(t.name for t in model.graph.initializer if t.external_data),
        training=tuple(node.name for node in model.graph.node if _training(node)),
    )


def _shape(value: Any) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_param or "?" if not d.HasField("dim_value") else d.dim_value for d in dims)


def _training(node: Any) -> bool:
    return any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
