"""The clean-up of an exported ONNX graph, and the contract that it fulfills afterwards.

The passes are those of `onnx_ir`. The same input gives the same bytes: paths, stack traces and
generated shape names are removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from posedeploy.errors import ConversionError
from posedeploy.export.opset import OLD, lower
from posedeploy.runtime.types import TensorInfo

BATCH = "batch"  # name of the dynamic batch dimension
MAX_IR_VERSION = 9
TRAINING_OPS = ("Dropout", "Gradient", "Momentum", "Adam", "Adagrad")
_SHARED_SIZE = 1024  # elements; larger weights are never equal, and comparing them takes time


def clean(proto: Any, opset: int) -> Any:
    """The cleaned form of a `ModelProto`, which is left without its `value_info`.

    Args:
        proto: What an exporter wrote.
        opset: The opset that was asked for; a model of 18 is lowered to 17 where that is exact.
    """
    import onnx
    import onnx_ir as ir
    from onnx_ir.passes import common

    del proto.graph.value_info[:]  # generated shape names, which the passes would spread
    model = ir.from_proto(proto)
    outputs = [value.name for value in model.graph.outputs]
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.DeduplicateInitializersPass(_SHARED_SIZE)(model)
    if opset <= OLD < model.opset_imports[""]:
        lower(model)
    common.IdentityEliminationPass()(model)
    common.OutputFixPass()(model)
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = name  # eliminating an identity of an output has given it the name of another
    common.RemoveUnusedNodesPass()(model)
    common.RemoveUnusedOpsetsPass()(model)
    common.NameFixPass()(model)
    _strip_notes(model)
    model.graph.name = "main_graph"
    model.producer_name, model.producer_version = "posedeploy", None
    standard = onnx.helper.make_opsetid("", model.opset_imports[""])
    model.ir_version = onnx.helper.find_min_ir_version_for([standard])
    cleaned = ir.to_proto(model)
    del cleaned.graph.value_info[:]
    return cleaned


def _strip_notes(model: Any) -> None:
    """Remove documentation and metadata: they contain paths and stack traces."""
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)  # of graphs and nodes alone
    graph = model.graph
    for item in (model, graph, *graph.inputs, *graph.outputs, *graph.initializers.values()):
        item.doc_string = None
        item.metadata_props.clear()


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
    """What violates the contract of an exported graph, one message each.

    Args:
        proto: A cleaned `ModelProto`.
        inputs: The input names that it should have.
        outputs: The output names that it should have.
        batch: The first dimension of every input and output.
    """
    graph, found = proto.graph, []
    for what, values, names in (
        ("inputs", graph.input, inputs),
        ("outputs", graph.output, outputs),
    ):
        infos = tensor_infos(values)
        if tuple(info.name for info in infos) != tuple(names):
            found.append(f"{what} {', '.join(info.name for info in infos)}")
        found += [
            f"{info.name} of shape {list(info.shape)}"
            for info in infos
            if info.shape[:1] != (batch,) or not all(isinstance(n, int) for n in info.shape[1:])
        ]
    operators = {node.op_type for node in graph.node}
    found += [f"training operator {op}" for op in TRAINING_OPS if op in operators]
    found += sorted({f"operator domain {n.domain}" for n in graph.node if n.domain})
    if proto.functions:
        found.append(f"{len(proto.functions)} model-local functions")
    if proto.ir_version > MAX_IR_VERSION:
        found.append(f"IR version {proto.ir_version}")
    return found


def write_checked(proto: Any, path: Path) -> None:
    """Write one file and let ONNX check it: full check, strict shape inference.

    Raises:
        ConversionError: The checker refuses it; no file is left.
    """
    import onnx

    path.write_bytes(proto.SerializeToString(deterministic=True))
    try:
        # by path: C++ reads the file, and Python makes no copy of the weights
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        path.unlink()
        raise ConversionError(
            "export",
            path.name,
            f"a graph that onnx.checker refuses: {str(error).splitlines()[0]}",
            "a valid graph",
            "Try the other exporter with --exporter, and report this model.",
        ) from error
