"""A cell converts to an SDK model; its ONNX file is whole, and readable by other clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseconform.checks.declaration import Verdict, check, differences
from poseconform.judge.judge import Judge
from poseconform.judge.stages import stage_records
from poseconform.matrix.cells import Cell
from poseconform.results.records import ArtifactRecord, GraphRecord
from posedeploy.runtime import backend_row

# The oldest client of these folders: its ONNX Runtime reads nothing newer.
CLIENT, NEWEST_IR = "mmdeploy-runtime 1.3.1", 9
OPSETS = (17, 18)  # readable by that client and by every backend here


@dataclass(frozen=True)
class GraphFacts:
    """What is in one ONNX file; a str in a shape is the name of a dynamic dimension."""

    record: GraphRecord
    domains: set[str]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    external_data: tuple[str, ...]  # initializers whose data lie outside the file
    training: tuple[str, ...]  # nodes in training mode


@check(stage="convert", suite="conversion", anywhere=True)
def converts(judge: Judge, cell: Cell) -> Verdict:
    """Export and conversion leave a folder with the SDK's JSON files."""
    conversion = judge.conversion(cell)
    missing = sorted({"deploy.json", "detail.json", "pipeline.json"} - set(conversion.files))
    return Verdict(
        differences([("missing files", missing, [])]),
        stages=stage_records(conversion),
        artifacts=tuple(
            ArtifactRecord(name, sha, size) for name, (sha, size) in conversion.files.items()
        ),
        checkpoint_sha256=conversion.checkpoint_sha256,
    )


def onnx_file(judge: Judge, cell: Cell) -> Path:
    """The cell's ONNX file."""
    return judge.conversion(cell).folder / backend_row(cell.flow.backend).main_file


def _for_clients(cell: Cell, _device: str) -> bool:
    """Graphs of ONNX Runtime: other backends' graphs are for their own runtime only."""
    return cell.flow.backend == "onnxruntime"


@check(stage="contract", suite="conversion", applies=_for_clients, anywhere=True)
def graph(judge: Judge, cell: Cell) -> Verdict:
    """An ONNX graph is valid, whole, and old enough for other people's clients."""
    path = onnx_file(judge, cell)
    facts = graph_facts(path)
    return Verdict(tuple(_failures(path, facts)), graph=facts.record)


@check(stage="contract", suite="conversion", applies=_for_clients, anywhere=True)
def batch_dimension(judge: Judge, cell: Cell) -> Verdict:
    """The batch is the only dynamic dimension of an ONNX graph, and is called 'batch'."""
    facts = graph_facts(onnx_file(judge, cell))
    expected: Any = "batch" if cell.flow.shape_mode == "dynamic" else 1
    compared: list[tuple[str, object, object]] = []
    for name, shape in {**facts.inputs, **facts.outputs}.items():
        compared.append((f"first dimension of {name}", shape[:1], (expected,)))
        free = [size for size in shape[1:] if isinstance(size, str)]
        compared.append((f"other dynamic dimensions of {name}", free, []))
    return Verdict(differences(compared))


def graph_facts(path: Path) -> GraphFacts:
    """Read an ONNX file; raises `DecodeError` where it is none."""
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
        training=tuple(
            node.name
            for node in model.graph.node
            if any(a.name == "training_mode" and a.i == 1 for a in node.attribute)
        ),
    )


def size_operators(path: Path) -> Counter[str]:
    """Operators that compute sizes: `Shape`, and what reads nothing but sizes and constants.

    ONNX Runtime keeps these on the CPU on purpose, where a `Shape` puts its result: on the device
    they would wait for it, and they compute nothing of an image.
    """
    import onnx

    model_graph = onnx.load(path, load_external_data=False).graph
    constants = {tensor.name for tensor in model_graph.initializer} | {""}
    sizes: set[str] = set()
    counts: Counter[str] = Counter()
    for node in model_graph.node:  # in the order in which they can be computed
        read = set(node.input)
        if node.op_type == "Shape" or (read & sizes and read <= sizes | constants):
            sizes.update(node.output)
            counts[node.op_type] += 1
        elif read <= constants:
            constants.update(node.output)
    return counts


def _shape(value: Any) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_param or "?" if not d.HasField("dim_value") else d.dim_value for d in dims)


def _failures(path: Path, facts: GraphFacts) -> Iterator[str]:
    """What is invalid in the graph, and what other clients cannot read."""
    import onnx

    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except refusals as error:
        yield f"{path.name}: ONNX's checker refuses it: {str(error).splitlines()[0]}"
    record = facts.record
    wrong = {
        "operators of other domains": sorted(facts.domains - {""}),
        "weights outside the file": list(facts.external_data),
        "operators that do nothing": sorted({"Dropout", "Identity"} & set(record.ops)),
        "operators in training mode": list(facts.training),
    }
    yield from (f"{what}: {', '.join(names)}" for what, names in wrong.items() if names)
    if record.opset not in OPSETS:
        yield f"opset {record.opset}; {CLIENT} and every backend here read {list(OPSETS)}"
    if record.ir is None or record.ir > NEWEST_IR:
        yield f"IR version {record.ir}; {CLIENT} reads at most {NEWEST_IR}"
