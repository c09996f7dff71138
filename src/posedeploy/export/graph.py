"""Cleaning an exported ONNX graph, and the contract that it then keeps.

The passes work on the protobuf in place, once, without a copy of the weights.  The same input
gives the same bytes: nothing of paths, stack traces or generated shape names is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from posedeploy.errors import ConversionError
from posedeploy.export.opset import OLD, lower
from posedeploy.export.passes import (
    constants_to_initializers,
    drop_unused,
    name_nodes,
    remove_identities,
)
from posedeploy.runtime.types import TensorInfo

BATCH = "batch"  # name of the dynamic batch dimension
STANDARD_DOMAIN = {"", "ai.onnx"}
MAX_IR_VERSION = 9
TRAINING_OPS = ("Dropout", "Gradient", "Momentum", "Adam", "Adagrad")


def clean(proto: Any, opset: int) -> None:
    """Clean a `ModelProto` in place.

    Args:
        proto: What an exporter wrote.
        opset: The opset that was asked for; a model of 18 is lowered to 17 where that is exact.
    """
    graph = proto.graph
    constants_to_initializers(graph)
    remove_identities(graph)
    if opset <= OLD < _opset(proto):
        lower(proto)
    drop_unused(graph)
    name_nodes(graph)
    del graph.value_info[:]
    _strip_notes(proto)
    _set_versions(proto)


def _opset(proto: Any) -> int:
    return int(next(e.version for e in proto.opset_import if e.domain in STANDARD_DOMAIN))


def _set_versions(proto: Any) -> None:
    """Import the domains that are used, and declare the lowest IR version that has them."""
    import onnx

    used = {node.domain for node in proto.graph.node} - STANDARD_DOMAIN
    standard = onnx.helper.make_opsetid("", _opset(proto))
    kept = [entry for entry in proto.opset_import if entry.domain in used]
    del proto.opset_import[:]
    proto.opset_import.extend([standard, *kept])
    proto.ir_version = onnx.helper.find_min_ir_version_for([standard])
    proto.producer_name = "posedeploy"
    proto.producer_version = ""


def _strip_notes(proto: Any) -> None:
    """Take away documentation and metadata: they hold paths and stack traces."""
    graph = proto.graph
    graph.name = "main_graph"
    for item in (proto, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        item.doc_string = ""
        del item.metadata_props[:]


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
    """What breaks the contract of an exported graph, in words; empty if nothing does.

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
