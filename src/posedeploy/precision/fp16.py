"""fp16: an ONNX graph in which everything but a few parts is float16."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from posedeploy.errors import ConversionError
from posedeploy.precision.float_layers import float_nodes


def to_fp16(
    ir: Path,
    out: Path,
    keep: Collection[str] | None = None,
    *,
    keep_io_types: bool | list[str] = True,
    **arguments: Any,
) -> dict[str, str]:
    """Write the fp16 form of an ONNX graph, by `onnxruntime.transformers.float16`.

    `keep` names the nodes that stay float32; None takes those of `float_layers.FLOAT_PARTS`.
    `keep_io_types` is whether inputs and outputs stay float32, or the names of those that do.
    `arguments` are more of the converter's; a `node_block_list` adds to `keep`.

    Returns:
        Node name -> part, for the nodes that stayed float32.

    Raises:
        ConversionError: The converter refuses the graph.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    model = onnx.load(ir)
    kept = float_nodes(model.graph, "fp16", keep)
    kept |= dict.fromkeys(arguments.pop("node_block_list", None) or (), "deploy config")
    names = {node.name for node in model.graph.node}
    # With the shapes of intermediate values the converter gives two casts the same name.
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
    _remove_round_trips(converted.graph, names)
    OnnxModel(converted).prune_graph(allow_remove_graph_inputs=False)  # casts without a reader
    # the converter appends its casts at the end
    OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)
    del converted.graph.value_info[:]
    out.write_bytes(converted.SerializeToString(deterministic=True))
    return kept


def _remove_round_trips(graph: Any, originals: Collection[str]) -> None:
    """Let readers of float32 -> float16 -> float32 read the first float32, in place.

    The converter puts a cast after every node that stays float32 and one before the next, which
    would round every tensor inside the parts that stay exact. `originals` are the names of the
    nodes before the conversion: their casts stay.
    """
    import onnx

    # of several casts with the same output one stays: the converter adds one for every reader
    seen: set[str] = set()
    duplicates = []
    for i, node in enumerate(graph.node):
        if node.op_type == "Cast" and node.output[0] in seen:
            duplicates.append(i)
        seen.update(node.output)
    for i in reversed(duplicates):
        del graph.node[i]
    added = [n for n in graph.node if n.op_type == "Cast" and n.name not in originals]
    halves = {n.output[0]: n.input[0] for n in added if _to(n) == onnx.TensorProto.FLOAT16}
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    for node in added:
        if _to(node) == onnx.TensorProto.FLOAT and node.input[0] in halves:
            if node.output[0] in outputs:
                node.input[0] = halves[node.input[0]]  # float32 to float32: it keeps the name
            else:
                renamed[node.output[0]] = halves[node.input[0]]
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = renamed.get(name, name)


def _to(node: Any) -> int:
    return int(next(a.i for a in node.attribute if a.name == "to"))
