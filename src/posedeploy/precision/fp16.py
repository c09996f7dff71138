"""fp16: an ONNX graph in which everything but a few parts is float16."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from posedeploy.errors import ConversionError
from posedeploy.precision.float_layers import kept_nodes


def to_fp16(
    ir: Path,
    out: Path,
    keep: Collection[str] | None = None,
    *,
    keep_io_types: bool = True,
    **arguments: Any,
) -> dict[str, str]:
    """Write the fp16 form of an ONNX graph, by `onnxruntime.transformers.float16`.

    Args:
        ir: The float32 graph.
        out: The file to write.
        keep: Names of nodes that stay float32; None takes those of the table `kept.KEPT`.
        keep_io_types: True for float32 inputs and outputs, as clients expect them.
        arguments: More of the converter's: `min_positive_val`, `max_finite_val`,
            `op_block_list`, `node_block_list` (on top of `keep`), `disable_shape_infer`.

    Returns:
        Node name -> part, for the nodes that stayed float32.

    Raises:
        ConversionError: The converter refuses the graph.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(ir)
    table = kept_nodes(model.graph, "fp16")
    kept = table if keep is None else {name: table.get(name, "asked for") for name in keep}
    kept |= dict.fromkeys(arguments.pop("node_block_list", None) or (), "deploy config")
    names = {node.name for node in model.graph.node}
    # Stale shapes of intermediate values make the conversion name two casts alike.
    del model.graph.value_info[:]
    try:
        converted = convert_float_to_float16(
            model, keep_io_types=keep_io_types, node_block_list=sorted(kept), **arguments
        )
    except (ValueError, RuntimeError) as error:
        raise ConversionError(
            "convert", str(ir), f"{type(error).__name__}: {error}", "a graph in fp16",
            "Name the node or operator in node_block_list or op_block_list of common_config.",
        ) from error  # fmt: skip
    remove_round_trips(converted.graph, names)
    OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)  # casts came last
    del converted.graph.value_info[:]
    out.write_bytes(converted.SerializeToString(deterministic=True))
    return kept


def remove_round_trips(graph: Any, own: Collection[str]) -> None:
    """Let readers of float32 -> float16 -> float32 read the first float32, in place.

    The converter puts a cast behind every node that it leaves and one in front of the next, which
    rounds every tensor inside the parts that were to stay exact.

    Args:
        graph: The converted graph.
        own: Names of the nodes that were there before: their casts stay.
    """
    import onnx

    _drop_twins(graph)
    added = [n for n in graph.node if n.op_type == "Cast" and n.name not in own]
    halves = {n.output[0]: n.input[0] for n in added if _to(n) == onnx.TensorProto.FLOAT16}
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    for node in added:
        if _to(node) == onnx.TensorProto.FLOAT and node.input[0] in halves:
            if node.output[0] in outputs:
                node.input[0] = halves[node.input[0]]  # a cast of nothing that keeps the name
            else:
                renamed[node.output[0]] = halves[node.input[0]]
    _rename(graph, renamed)
    _drop_unread(graph, outputs)


def _drop_twins(graph: Any) -> None:
    """Leave one of several casts that put out the same tensor: one was made for every reader."""
    seen: set[str] = set()
    twins = []
    for i, node in enumerate(graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            twins.append(i)
        seen.update(node.output)
    for i in reversed(twins):
        del graph.node[i]


def _to(node: Any) -> int:
    return int(next(a.i for a in node.attribute if a.name == "to"))


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in names:
                node.input[i] = names[name]


def _drop_unread(graph: Any, outputs: Collection[str]) -> None:
    """Take out casts whose result nobody reads."""
    read = {name for node in graph.node for name in node.input} | set(outputs)
    dead = [
        i
        for i, node in enumerate(graph.node)
        if node.op_type == "Cast" and node.output[0] not in read
    ]
    for i in reversed(dead):
        del graph.node[i]
