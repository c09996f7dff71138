"""The ONNX graph against the JSON files: names, shapes, batch, precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.heads import stage_of_component
from posedeploy.runtime import TensorInfo
from posedeploy.sdk.binding import bind_input, bind_outputs, check_sizes, resolve
from posedeploy.sdk.checks import Finding, error, from_exception, warning
from posedeploy.sdk.checks.detail import section
from posedeploy.sdk.decode import Decoder
from posedeploy.sdk.decode.selected import SelectedKeypoints
from posedeploy.sdk.folder import DEPLOY, DETAIL, PIPELINE, SdkModel
from posedeploy.sdk.onnxfile import OnnxFacts

MAX_ELEMENTS = 2 * 10**7  # of an output that is tried out; real ones have 10**6

# Output -> what its last dimension is with so many classes.
CLASS_AXES: Mapping[str, Callable[[int], int]] = {
    "dets": lambda classes: 5 if classes == 1 else 6,
    "scores": lambda classes: classes,
    "cls": lambda classes: classes,
}

# Operators that only quantized graphs have: ONNX operator specification.
QUANTIZED = frozenset(
    {"ConvInteger", "DequantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul",
     "QuantizeLinear"}
)  # fmt: skip


def check_graph(
    model: SdkModel, graph: OnnxFacts, input_size: tuple[int, int], decoder: Decoder | None
) -> Iterator[Finding]:
    """Everything in `pipeline.json` and `deploy.json` that must agree with the graph.

    `input_size` is what the transforms make; `decoder` is None where it could not be made.
    """
    net = model.model.net
    if graph.external:
        found = f"weights in other files: {', '.join(graph.external)[:120]}"
        why = "mmdeploy-runtime 1.3.1 crashes"
        yield error(net, "", found, "one file with its weights in it", why)
    try:
        check_sizes(net, [*graph.inputs, *graph.outputs])
    except BadInputError as problem:
        yield from_exception(problem, net, "a client allocates it, or dies")
        return
    other_input = False  # outputs follow from the input: if it is another model's, so are they
    try:
        info = bind_input(model, graph.inputs, input_size)
    except BadInputError as problem:
        other_input = problem.subject == net
        yield from_exception(problem, net, "" if other_input else "mmdeploy-runtime 1.3.1 aborts")
    else:
        yield from _check_input(model, info, input_size)
    if decoder is not None and not other_input:
        yield from _check_outputs(model, graph, decoder)
        yield from _check_classes(model, graph, decoder)
    yield from _check_precision(model, graph)
    custom = sorted(set(graph.opsets) - {"", "ai.onnx", "ai.onnx.ml"})
    if custom:
        found, why = f"operators of {', '.join(custom)}", "only runtimes that have them load it"
        yield warning(net, "", found, "ONNX's own operators", why)


def _check_input(
    model: SdkModel, info: TensorInfo, input_size: tuple[int, int]
) -> Iterator[Finding]:
    net, (width, height) = model.model.net, input_size
    found = f"input {info.name!r} of shape {list(info.shape)}"
    expected = f"[N, 3, {height}, {width}], as the transforms make it"
    if not info.shape:
        yield error(net, "", found, expected)
        return
    if any(isinstance(size, str) for size in info.shape[1:]):
        yield warning(net, "", found, expected)
    if info.dtype != "float32":
        found = f"input {info.name!r} of {info.dtype}"
        yield warning(net, "", found, "float32", "clients feed float32")
    batch, entry = info.shape[0], model.model
    dynamic = isinstance(batch, str)
    if entry.dynamic_shape != dynamic:
        yield error(
            DEPLOY, "$.models[0].dynamic_shape", str(entry.dynamic_shape).lower(),
            f"{str(dynamic).lower()}: the graph's batch is {batch}",
        )  # fmt: skip
    if isinstance(batch, int) and entry.batch_size > batch:
        yield error(
            DEPLOY, "$.models[0].batch_size", str(entry.batch_size), f"at most {batch}",
            "mmdeploy-runtime 1.3.1 aborts on more boxes than the graph's batch",
        )  # fmt: skip


def _check_outputs(model: SdkModel, graph: OnnxFacts, decoder: Decoder) -> Iterator[Finding]:
    infos = {info.name: info for info in graph.outputs}
    try:
        bound = bind_outputs(model, list(infos), decoder.outputs)
    except BadInputError as problem:
        yield from_exception(problem, PIPELINE, "mmdeploy-runtime 1.3.1 aborts")
        return
    trial = {name: _zeros(infos[target]) for name, target in bound.items()}
    if any(array is None for array in trial.values()):
        return  # shapes that the graph does not declare cannot be wrong
    try:
        decoder.decode({name: array for name, array in trial.items() if array is not None})
    except BadInputError as problem:
        yield error(model.model.net, "", f"{problem.subject} {problem.found}", problem.expected)


def _check_classes(model: SdkModel, graph: OnnxFacts, decoder: Decoder) -> Iterator[Finding]:
    """The number of classes in `detail.json` and in the outputs of a detector's graph."""
    facts = section(model, "model")
    declared = facts.get("num_classes", 1)
    shapes = {info.name: info.shape for info in graph.outputs}
    for name in sorted(CLASS_AXES.keys() & set(decoder.outputs)):
        shape = shapes.get(resolve(name, model.output_map, list(shapes)) or "", ())
        if not facts or not isinstance(declared, int) or len(shape) != 3:
            continue
        wanted = CLASS_AXES[name](declared)
        if isinstance(shape[2], int) and shape[2] != wanted:
            yield error(
                model.model.net, "", f"output {name!r} of shape {list(shape)}",
                f"{wanted} in the last dimension: {declared} "
                f"{'class' if declared == 1 else 'classes'} by num_classes in {DETAIL}",
                "people get a wrong class or none",
            )  # fmt: skip


def _zeros(info: TensorInfo) -> NDArray[Any] | None:
    """Zeros of an output's shape, a dynamic batch as 1; None where a size is not declared."""
    shape = [1 if i == 0 and isinstance(size, str) else size for i, size in enumerate(info.shape)]
    sizes = [size for size in shape if isinstance(size, int)]
    if not sizes or len(sizes) < len(shape) or prod(sizes) > MAX_ELEMENTS or min(sizes) < 0:
        return None
    dtype = np.float32 if info.dtype in ("?", "bfloat16") else np.dtype(info.dtype)
    return np.zeros(sizes, dtype)


def keypoint_count(model: SdkModel, graph: OnnxFacts, decoder: Decoder) -> int | None:
    """Number of keypoints that a person gets, None where the graph does not tell."""
    if isinstance(decoder, SelectedKeypoints):
        return len(decoder.indices.value)
    shapes = {info.name: info.shape for info in graph.outputs}
    _, stage = stage_of_component(model.component, model.params.value)
    for output, name in zip(stage.outputs, stage.read_names, strict=True):
        shape = shapes.get(resolve(name, model.output_map, list(shapes)) or "", ())
        axis = output.axes.index("K") if "K" in output.axes else len(shape)
        count = shape[axis] if len(shape) > axis else None
        if isinstance(count, int):
            return count // 3 if getattr(decoder, "method", "") == "combined" else count
    return None


def shown_precision(graph: OnnxFacts) -> str:
    """The precision in `deploy.json`'s words that operators and weights show; '' if none does."""
    names = {"float16": "FP16", "bfloat16": "BF16", "float32": "FP32"}
    if graph.operators & QUANTIZED:
        return "INT8"
    return next((names[t] for t in names if t in graph.weight_types), "")


def _check_precision(model: SdkModel, graph: OnnxFacts) -> Iterator[Finding]:
    """The precision of weights and operators, where there are any that show it."""
    shown = shown_precision(graph)
    if shown not in ("", model.model.precision):
        path, expected = "$.models[0].precision", f"{shown}, as the graph is"
        why = "it is taken for what it is not"
        yield warning(DEPLOY, path, model.model.precision, expected, why)
