"""The clean-up of an exported ONNX graph, and the contract that it fulfills afterwards.

The passes are those of `onnx_ir`. The same input gives the same bytes: paths, stack traces and
generated shape names are removed. A graph of opset 18, from the dynamo exporter, is lowered to 17
for clients that read no more: ONNX's own converter lacks `Split` and stops at reductions whose
axes are not a constant node, and onnxscript's converts upwards only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from posedeploy.errors import ConversionError
from posedeploy.runtime.types import TensorInfo

BATCH = "batch"  # name of the dynamic batch dimension
MAX_IR_VERSION = 9
LOW_OPSET, HIGH_OPSET = 17, 18
_TRAINING_OPS = ("Dropout", "Gradient", "Momentum", "Adam", "Adagrad")
_SHARED_SIZE = 1024  # elements; larger weights are never equal, and comparing them takes time

# Reductions whose axes became an input in opset 18.
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceProd", "ReduceSumSquare",
)  # fmt: skip
# Operators that opset 18 changed and 17 can express -> attributes that 17 lacks.
_NEW_ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_REDUCTIONS, ("noop_with_empty_axes",)),
    "Pad": (),
    "Resize": ("antialias", "keep_aspect_ratio_policy"),
    "ScatterElements": (),
    "ScatterND": (),
    # 17 divides evenly or not at all: the checker's shape inference refuses a rest
    "Split": ("num_outputs",),
}


def clean(proto: Any, opset: int) -> Any:
    """The cleaned form of a `ModelProto`, which loses its `value_info`.

    A model of opset 18 is lowered where 17 was asked for and that is exact.
    """
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes import common

    del proto.graph.value_info[:]  # generated shape names, which the passes would spread
    model = ir.from_proto(proto)
    outputs = [value.name for value in model.graph.outputs]
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.DeduplicateInitializersPass(_SHARED_SIZE)(model)
    if opset <= LOW_OPSET < model.opset_imports[""]:
        lower(model)
    common.IdentityEliminationPass()(model)
    common.OutputFixPass()(model)
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = name  # eliminating an identity of an output has given it the name of another
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    common.NameFixPass()(model)
    # documentation and metadata contain paths and stack traces
    common.ClearMetadataAndDocStringPass()(model)  # of graphs and nodes alone
    graph = model.graph
    for item in (model, graph, *graph.inputs, *graph.outputs, *graph.initializers.values()):
        item.doc_string = None
        item.metadata_props.clear()
    model.graph.name = "main_graph"
    model.producer_name, model.producer_version = "posedeploy", None
    standard = onnx.helper.make_opsetid("", model.opset_imports[""])
    model.ir_version = onnx.helper.find_min_ir_version_for([standard])
    cleaned = ir.to_proto(model)
    del cleaned.graph.value_info[:]
    return cleaned


def lower(model: Any) -> list[str]:
    """Rewrite an `onnx_ir.Model` of opset 18 as opset 17, in place.

    Returns the operators that cannot be rewritten; the model changes only if there are none.
    """
    import onnx
    import onnx_ir as ir

    changed = [
        node
        for node in model.graph
        if onnx.defs.get_schema(node.op_type, HIGH_OPSET, node.domain).since_version == HIGH_OPSET
    ]
    obstacles = {node.op_type for node in changed if not _can_lower(node)}
    if obstacles:
        return sorted(obstacles)
    for node in changed:
        if node.op_type in _REDUCTIONS and len(node.inputs) > 1:
            axes = node.inputs[1].const_value.numpy().tolist()
            node.resize_inputs(1)
            node.attributes["axes"] = ir.AttrInt64s("axes", axes)
        for name in _NEW_ATTRIBUTES.get(node.op_type, ()):
            node.attributes.pop(name, None)
    model.opset_imports[""] = LOW_OPSET
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
    return node.op_type in _NEW_ATTRIBUTES


def set_shape(value: Any, shape: Sequence[int | str]) -> None:
    """Declare the shape of a graph input or output; a str is the name of a dynamic dimension."""
    dims = value.type.tensor_type.shape.dim
    del dims[:]
    for size in shape:
        if isinstance(size, str):
            dims.add().dim_param = size
        else:
            dims.add().dim_value = size


def tensor_infos(values: Iterable[Any]) -> tuple[TensorInfo, ...]:
    """Names, shapes and dtypes of graph inputs or outputs, as the file declares them."""
    import onnx

    infos = []
    for value in values:
        tensor = value.type.tensor_type
        dims = tuple(
            dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or "?")
            for dim in tensor.shape.dim
        )
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        infos.append(TensorInfo(value.name, dims, dtype))
    return tuple(infos)


def problems(
    proto: Any, inputs: Sequence[str], outputs: Sequence[str], batch: int | str
) -> list[str]:
    """What violates the contract of a cleaned `ModelProto`, one message each.

    Inputs and outputs have these names and the first dimension `batch`.
    """
    graph, messages = proto.graph, []
    for what, values, expected in (
        ("inputs", graph.input, inputs),
        ("outputs", graph.output, outputs),
    ):
        infos = tensor_infos(values)
        names = [info.name for info in infos]
        if names != list(expected):
            messages.append(f"{what} {', '.join(names)}")
        messages += [
            f"{info.name} of shape {list(info.shape)}"
            for info in infos
            if info.shape[:1] != (batch,) or not all(isinstance(n, int) for n in info.shape[1:])
        ]
    operators = {node.op_type for node in graph.node}
    messages += [f"training operator {op}" for op in _TRAINING_OPS if op in operators]
    messages += sorted({f"operator domain {n.domain}" for n in graph.node if n.domain})
    if proto.functions:
        messages.append(f"{len(proto.functions)} model-local functions")
    if proto.ir_version > MAX_IR_VERSION:
        messages.append(f"IR version {proto.ir_version}")
    return messages


def write_checked(proto: Any, path: Path) -> None:
    """Write one file and let ONNX check it: full check, strict shape inference.

    Raises:
        ConversionError: The checker refuses it, or it is too large; no file is left.
    """
    import onnx

    size = sum(  # by shape: Python copies `raw_data` each time that it is read
        math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in proto.graph.initializer
    )
    if size > onnx.checker.MAXIMUM_PROTOBUF:
        raise ConversionError(
            "export", path.name, f"a graph with {size / 1e9:.1f} GB of weights",
            f"at most {onnx.checker.MAXIMUM_PROTOBUF / 1e9:.1f} GB, what a protobuf file holds",
            "Deploy a smaller model, or this one by torchscript.",
        )  # fmt: skip
    path.write_bytes(proto.SerializeToString(deterministic=True))
    try:
        # by path: C++ reads the file, and Python makes no copy of the weights
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        path.unlink()
        raise ConversionError(
            "export", path.name,
            f"a graph that onnx.checker refuses: {str(error).splitlines()[0]}", "a valid graph",
            "Try the other exporter with --exporter, and report this model.",
        ) from error  # fmt: skip
