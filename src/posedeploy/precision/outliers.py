"""Tensors with outliers: one range for all their values leaves most of them a few int8 steps.

A trained LiteHRNet-18 has such a channel: the largest value of its stream at a quarter of the
input's size is 110 times the root mean square, and int8 lost 10 of 100 joints by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from typing import Any

import numpy as np

from posedeploy.precision.calibration import CalibrationSet

# Largest value over the root mean square. Where it is 64, int8's step of largest / 127 is half of
# the root mean square. Layers of networks that were trained here have 2 to 46.
MOST_CREST = 64.0
OUTLIERS = "outliers"  # the part of nodes in `detail.json`
IMAGES = 8  # of the calibration set; more change no verdict on a tensor


def outlier_nodes(
    model: Any,
    calibration: CalibrationSet,
    operators: Collection[str],
    most: float = MOST_CREST,
) -> dict[str, str]:
    """Node name -> part, for nodes of these operators that read or write a tensor with outliers.

    Args:
        model: A float32 `ModelProto` whose nodes have names.
        calibration: The first `IMAGES` of it are run.
        operators: Those that would be quantized.
        most: The largest crest factor of a tensor without outliers.
    """
    nodes = [node for node in model.graph.node if node.op_type in operators]
    written = {name for node in model.graph.node for name in node.output}
    tensors = written & {n for node in nodes for n in (*node.input, *node.output)}
    crest = crest_factors(model, calibration, sorted(tensors))
    found = {name for name, value in crest.items() if value > most}
    return {n.name: OUTLIERS for n in nodes if not found.isdisjoint((*n.input, *n.output))}


def crest_factors(model: Any, calibration: CalibrationSet, tensors: list[str]) -> dict[str, float]:
    """Largest value over root mean square, over the images, of the tensors that are float32."""
    import onnx
    import onnxruntime

    measured = onnx.ModelProto()
    measured.CopyFrom(model)
    graph = measured.graph
    del graph.output[:]
    kinds = _float_tensors(model)
    chosen = [name for name in tensors if name in kinds]
    for number, name in enumerate(chosen):
        parts = [f"crest{number}_{part}" for part in ("abs", "max", "square", "mean")]
        absolute, largest, square, mean = parts
        graph.node.extend([
            onnx.helper.make_node("Abs", [name], [absolute]),
            onnx.helper.make_node("ReduceMax", [absolute], [largest], keepdims=0),
            onnx.helper.make_node("Mul", [name, name], [square]),
            onnx.helper.make_node("ReduceMean", [square], [mean], keepdims=0),
        ])  # fmt: skip
        graph.output.extend(
            onnx.helper.make_tensor_value_info(part, onnx.TensorProto.FLOAT, [])
            for part in (largest, mean)
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        measured.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    read = session.get_inputs()[0].name
    values = np.asarray([
        session.run(None, {read: array})
        for array in itertools.islice(calibration.inputs(), IMAGES)
    ])  # fmt: skip
    largest_of, means = values[:, 0::2].max(axis=0), values[:, 1::2].mean(axis=0)
    crest = largest_of / np.sqrt(np.maximum(means, np.finfo(np.float32).tiny))
    return dict(zip(chosen, crest.tolist(), strict=True))


def _float_tensors(model: Any) -> set[str]:
    """Names of the tensors that shape inference finds to be float32."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    return {
        value.name
        for value in (*inferred.graph.value_info, *inferred.graph.output)
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
