"""What is in an ONNX file, read from the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseconform.results.records import GraphRecord

OPSETS = (17, 18)  # readable by mmdeploy-runtime 1.3.1 and by every backend here


@dataclass(frozen=True)
class GraphFacts:
    """One ONNX file.

    Attributes:
        record: Operators, nodes, opset, IR version.
        domains: Domains of the operators.
        inputs: Input name -> shape; a str entry is a dynamic dimension's name.
        outputs: Output name -> shape.
        external_data: Initializers whose data lie outside the file.
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


def size_operators(path: Path) -> Counter[str]:
    """Operators that compute sizes: `Shape`, and what reads nothing but sizes and constants.

    That is the rule by which ONNX Runtime keeps a node on the CPU on purpose, where a `Shape`
    puts its result: such nodes would wait for the device, and compute nothing of a image.
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in graph.initializer} | {""}
    sizes: set[str] = set()
    found: Counter[str] = Counter()
    for node in graph.node:  # in the order in which they can be computed
        read = set(node.input)
        if node.op_type == "Shape" or (read & sizes and read <= sizes | constants):
            sizes.update(node.output)
            found[node.op_type] += 1
        elif read <= constants:
            constants.update(node.output)
    return found


def _shape(value: Any) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_param or "?" if not d.HasField("dim_value") else d.dim_value for d in dims)


def _training(node: Any) -> bool:
    return any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
