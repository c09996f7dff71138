"""Small ONNX graphs with what matters of large ones: convolutions, batches, suppression."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = (3, 16, 12)  # channels, height, width of the input
OPSET = helper.make_opsetid("", 17)


def write_network(path: Path, batch: int | str = 1) -> Path:
    """Two convolutions with a ReLU between them: `input [N, 3, 16, 12]`, `output [N, 4, 16, 12]`.

    Args:
        path: The file to write.
        batch: N, or the name of a dynamic one.
    """
    draw = np.random.default_rng(0).normal
    weights = {
        "w1": draw(size=(8, 3, 3, 3)), "b1": draw(size=8),
        "w2": draw(size=(8, 8, 3, 3)), "b2": draw(size=8),
        "w3": draw(size=(4, 8, 1, 1)), "b3": draw(size=4),
    }  # fmt: skip
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c1"], "conv1", **pads),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "conv2", **pads),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["output"], "conv3"),
    ]
    return _write(path, nodes, weights, {"input": [batch, *SIZE]},
                  {"output": [batch, 4, *SIZE[1:]]})  # fmt: skip


def write_suppression(path: Path, best: int = 5) -> Path:
    """Fixed boxes, and scores `[1, 1, k]`, to the rows that survive: a data-dependent shape.

    Args:
        path: The file to write.
        best: k of a TopK over the scores.
    """
    settings = {"k": np.array([best]), "most": np.array([4])}
    settings |= {name: np.array([v], np.float32) for name, v in (("iou", 0.5), ("score", 0.0))}
    draw = np.random.default_rng(1).uniform
    settings["corner"] = draw(0, 8, size=(1, best, 2)).astype(np.float32)
    nodes = [
        helper.make_node("TopK", ["input", "k"], ["best", "index"], "topk1"),
        helper.make_node("Add", ["corner", "far"], ["other"], "add1"),
        helper.make_node("Concat", ["corner", "other"], ["boxes"], "concat1", axis=2),
        helper.make_node(
            "NonMaxSuppression", ["boxes", "best", "most", "iou", "score"], ["selected"], "nms1"
        ),
    ]
    settings["far"] = np.array([4.0], np.float32)
    return _write(path, nodes, settings, {"input": [1, 1, best]}, {}, selected=True)


def write_foreign(path: Path) -> Path:
    """Two operators of another domain, which would need plugins."""
    nodes = [
        helper.make_node("FusedConv", ["input"], ["a"], "fused1", domain="com.microsoft"),
        helper.make_node("Gelu", ["a"], ["output"], "gelu1", domain="com.microsoft"),
    ]
    return _write(path, nodes, {}, {"input": [1, *SIZE]}, {"output": [1, *SIZE]})


def _write(
    path: Path,
    nodes: list[onnx.NodeProto],
    values: Mapping[str, NDArray[np.generic]],
    inputs: Mapping[str, list[int | str]],
    outputs: Mapping[str, list[int | str]],
    *,
    selected: bool = False,
) -> Path:
    def floats(named: Mapping[str, list[int | str]]) -> list[onnx.ValueInfoProto]:
        kind = TensorProto.FLOAT
        return [helper.make_tensor_value_info(name, kind, dims) for name, dims in named.items()]

    indices = helper.make_tensor_value_info("selected", TensorProto.INT64, ["rows", 3])
    held = [
        numpy_helper.from_array(a.astype(np.float32) if a.dtype == np.float64 else a, name)
        for name, a in values.items()
    ]
    graph = helper.make_graph(
        nodes, "g", floats(inputs), [*floats(outputs), *([indices] if selected else [])], held
    )
    opsets = [OPSET, *(helper.make_opsetid(d, 1) for d in {n.domain for n in nodes} if d)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path
