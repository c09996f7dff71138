"""Checks of what a session and a graph say of themselves, before any number is compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from poseconform.checks.onnx_facts import OPSETS, GraphFacts, graph_facts, size_operators
from poseconform.compare.tensors import Verdict
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from posedeploy.runtime import backend_row

# The oldest client whose folders these are: mmdeploy-runtime 1.3.1 holds an ONNX Runtime that
# reads nothing newer.
CLIENT, NEWEST_IR = "mmdeploy-runtime 1.3.1", 9
# How the runtimes say that they compute in float32
FLOAT32 = frozenset({"fp32", "f32", "float32"})
# What a session on a GPU says of nodes on the CPU: none, 'Shape 2, TopK 1', or that it cannot tell
NOWHERE, UNTOLD = "none", "unknown"
# What a frozen graph has no use for
_USELESS = frozenset({"Dropout", "Identity"})


def equal(found: list[tuple[str, object, object]]) -> Verdict:
    """A failure for each (what, found, expected) that differs."""
    return Verdict(
        failures=tuple(f"{what}: found {f}; expected {e}" for what, f, e in found if f != e)
    )


def runs(judge: Judge, cell: Cell) -> Verdict:
    """The backend loads the files and gives outputs for every batch."""
    empty = [batch.samples for batch in judge.execution(cell).batches if not batch.outputs]
    return equal([("batches without outputs", empty, [])])


def precision(judge: Judge, cell: Cell) -> Verdict:
    """A backend that is asked for float32 says that it computes in float32, if it says anything.

    Other precisions are not judged here: what they may compute in differs from flow to flow, and
    the numbers tell.
    """
    found = judge.execution(cell).loaded.effective_options.get("inference_precision")
    if cell.flow.precision != "fp32" or found is None or found in FLOAT32:
        return Verdict()
    return equal([("inference precision in force", found, "fp32")])


def placement(judge: Judge, cell: Cell) -> Verdict:
    """No node fell back from the device to the CPU, but those that compute sizes.

    They are told by kind and number: optimization renames nodes, and never adds one of these.
    """
    found = judge.execution(cell).loaded.effective_options.get("nodes_on_cpu", NOWHERE)
    if found == NOWHERE:
        return Verdict()
    if found == UNTOLD:
        return equal(
            [("nodes on the CPU", found, "a list, which ONNX Runtime gives from 1.24 on")]
        )
    path = onnx_file(judge, cell)
    of_sizes = size_operators(path) if path else Counter[str]()
    parts = (part.split() for part in found.split(", "))
    left = [f"{kind} {count}" for kind, count in parts if int(count) > of_sizes[kind]]
    return equal([("nodes that fell back to the CPU", left, [])])


def graph(judge: Judge, cell: Cell) -> Verdict:
    """An ONNX graph is valid, whole, and old enough for other people's clients."""
    path = onnx_file(judge, cell)
    if path is None:
        return Verdict()
    return Verdict(failures=(*_invalid(path), *_unreadable(graph_facts(path))))


def batch_dimension(judge: Judge, cell: Cell) -> Verdict:
    """The batch is the only dynamic dimension of an ONNX graph, and is called so."""
    path = onnx_file(judge, cell)
    if path is None:
        return Verdict()
    facts = graph_facts(path)
    expected: Any = "batch" if cell.flow.shape_mode == "dynamic" else 1
    found: list[tuple[str, object, object]] = []
    for name, shape in {**facts.inputs, **facts.outputs}.items():
        found.append((f"first dimension of {name}", shape[:1], (expected,)))
        free = [size for size in shape[1:] if isinstance(size, str)]
        found.append((f"other dynamic dimensions of {name}", free, []))
    return equal(found)


def onnx_file(judge: Judge, cell: Cell) -> Path | None:
    """The cell's ONNX file; None if its backend has files of its own."""
    name = backend_row(cell.flow.backend).main_file
    return judge.conversion(cell).folder / name if name.endswith(".onnx") else None


def outside(name: str) -> bool:
    """True if a file name in a JSON file leads out of the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in path.parts[0]


def _invalid(path: Path) -> Iterator[str]:
    import onnx

    refusals = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except refusals as error:
        yield f"{path.name}: ONNX's checker refuses it: {str(error).splitlines()[0]}"


def _unreadable(facts: GraphFacts) -> Iterator[str]:
    record = facts.record
    wrong = {
        "operators of other domains": sorted(facts.domains - {""}),
        "weights outside the file": list(facts.external_data),
        "operators that do nothing": sorted(_USELESS & set(record.ops)),
        "operators in training mode": list(facts.training),
    }
    yield from (f"{what}: {', '.join(found)}" for what, found in wrong.items() if found)
    if record.opset not in OPSETS:
        yield f"opset {record.opset}; {CLIENT} and every backend here read {list(OPSETS)}"
    if record.ir is None or record.ir > NEWEST_IR:
        yield f"IR version {record.ir}; {CLIENT} reads at most {NEWEST_IR}"
