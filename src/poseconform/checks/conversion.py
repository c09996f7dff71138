"""A cell converts to an SDK model; its ONNX file is whole, and readable by other clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poseconform.checks.declaration import Verdict, check, differences, in_two_levels
from poseconform.judge.judge import Judge, backend_files
from poseconform.judge.stages import stage_records
from poseconform.matrix.cells import Cell
from poseconform.results.records import ArtifactRecord, GraphRecord
from poseconform.subject.protocol import Conversion

# The oldest client of these folders, and the newest opset and IR that its ONNX Runtime 1.15.1
# reads: of opset 19, all operators that did not change there.
CLIENT, NEWEST_OPSET, NEWEST_IR = "mmdeploy-runtime 1.3.1", 18, 9
OPSETS = (17, 18)  # that this project's exporters write
SDK_FILES = frozenset({"deploy.json", "detail.json", "pipeline.json"})
CLIENTS_READ = frozenset({"deploy.json", "pipeline.json"})


@dataclass(frozen=True)
class GraphFacts:
    """What is in one ONNX file; a str in a shape is the name of a dynamic dimension."""

    record: GraphRecord
    domains: set[str]
    inputs: dict[str, tuple[int | str, ...]]
    outputs: dict[str, tuple[int | str, ...]]
    external_data: tuple[str, ...]  # initializers whose data lie outside the file
    training: tuple[str, ...]  # nodes in training mode


def _is_converted(cell: Cell, _device: str) -> bool:
    return not cell.flow.folder


@check(stage="convert", suite="conversion", applies=_is_converted, anywhere=True)
def converts(judge: Judge, cell: Cell) -> Verdict:
    """Export and conversion leave a folder with the SDK's JSON files."""
    conversion = judge.conversion(cell)
    missing = sorted(SDK_FILES - set(conversion.files))
    return Verdict(
        differences([("missing files", missing, [])]),
        stages=stage_records(conversion),
        artifacts=_artifacts(conversion),
        checkpoint_sha256=conversion.checkpoint_sha256,
    )


def _is_brought(cell: Cell, _device: str) -> bool:
    return bool(cell.flow.folder)


@check(stage="contract", suite="conversion", applies=_is_brought, anywhere=True)
def files(judge: Judge, cell: Cell) -> Verdict:
    """A folder of another toolchain holds the SDK's JSON files, and those that they name."""
    conversion = judge.conversion(cell)
    wrong = sorted((CLIENTS_READ | set(cell.flow.files)) - set(conversion.files))
    house = sorted(SDK_FILES - CLIENTS_READ - set(conversion.files))
    return in_two_levels(
        judge, differences([("missing files", wrong, [])]),
        differences([("missing files", house, [])]),
        artifacts=_artifacts(conversion), checkpoint_sha256=conversion.checkpoint_sha256,
    )  # fmt: skip


def _artifacts(conversion: Conversion) -> tuple[ArtifactRecord, ...]:
    return tuple(ArtifactRecord(name, sha, size) for name, (sha, size) in conversion.files.items())


def onnx_file(judge: Judge, cell: Cell) -> Path:
    """The cell's ONNX file."""
    return Path(backend_files(cell, judge.conversion(cell).folder)[0])


def _for_clients(cell: Cell, _device: str) -> bool:
    """Graphs of ONNX Runtime: other backends' graphs are for their own runtime only."""
    return cell.flow.backend == "onnxruntime"


@check(stage="contract", suite="conversion", applies=_for_clients, anywhere=True)
def graph(judge: Judge, cell: Cell) -> Verdict:
    """An ONNX graph is valid; by our rules also whole, and old enough for others' clients."""
    path = onnx_file(judge, cell)
    facts = graph_facts(path)
    return in_two_levels(judge, _wrong(path, facts), _unusual(facts), graph=facts.record)


@check(stage="contract", suite="conversion", applies=_for_clients, anywhere=True)
def batch_dimension(judge: Judge, cell: Cell) -> Verdict:
    """All tensors of an ONNX graph have one batch; by our rules it is 'batch' or 1, and alone.

    Of a tensor without dimensions nothing is declared, which breaks a rule and nothing else.
    """
    facts = graph_facts(onnx_file(judge, cell))
    expected: Any = "batch" if cell.flow.shape_mode == "dynamic" else 1
    wrong: list[tuple[str, object, object]] = []
    house: list[tuple[str, object, object]] = []
    batches = {shape[0] for shape in facts.inputs.values() if shape}
    for name, shape in {**facts.inputs, **facts.outputs}.items():
        # a batch that was folded into a constant: the input has another
        folded = shape and isinstance(shape[0], int) and {shape[0]} != batches
        (wrong if folded else house).append((f"first dimension of {name}", shape[:1], (expected,)))
        free = [size for size in shape[1:] if isinstance(size, str)]
        house.append((f"other dynamic dimensions of {name}", free, []))
    return in_two_levels(judge, differences(wrong), differences(house))


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


def _wrong(path: Path, facts: GraphFacts) -> Iterator[str]:
    """What is invalid in the graph, or computes something else than in PyTorch."""
    import onnx

    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except refusals as error:
        yield f"{path.name}: ONNX's checker refuses it: {str(error).splitlines()[0]}"
    if facts.training:
        yield f"operators in training mode: {', '.join(facts.training)}"


def _unusual(facts: GraphFacts) -> Iterator[str]:
    """What our graphs do not have; the last ones are what some client cannot read."""
    record = facts.record
    unusual = {
        "operators of other domains": sorted(facts.domains - {""}),
        "weights outside the file": list(facts.external_data),
        "operators that do nothing": sorted({"Dropout", "Identity"} & set(record.ops)),
    }
    yield from (f"{what}: {', '.join(names)}" for what, names in unusual.items() if names)
    if record.opset is not None and record.opset > NEWEST_OPSET:
        yield f"opset {record.opset}; {CLIENT} reads at most {NEWEST_OPSET}"
    elif record.opset not in OPSETS:
        yield f"opset {record.opset}; this project's exporters write {list(OPSETS)}"
    if record.ir is None or record.ir > NEWEST_IR:
        yield f"IR version {record.ir}; {CLIENT} reads at most {NEWEST_IR}"
