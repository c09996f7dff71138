"""The judge's checks by name: what the suites run on every cell, and the planted defects too.

A check asks the judge for what it needs and gives a verdict; an earlier stage that fails raises
`StageFailure`.  `CHECKS` says which stage each one judges.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.checks.contract import batch_dimension, equal, graph, outside, precision, runs
from poseconform.checks.overlay import overlay
from poseconform.checks.precision import accuracy, layers
from poseconform.compare.client import judge_client
from poseconform.compare.detections import judge_detected_keypoints, judge_detections, judge_rows
from poseconform.compare.tensors import (
    Verdict,
    judge_alive,
    judge_keypoints,
    judge_overlap,
    judge_tensors,
)
from poseconform.compare.tolerances import Tolerance, tolerance_for
from poseconform.judge.judge import Judge
from poseconform.judge.runs import Execution
from poseconform.matrix.cells import Cell
from poseconform.reference.host_stage import is_unfinished
from poseconform.reference.values import Reference
from poseconform.results.records import ImageRecord
from poseconform.subject.clients import ClientAnswer
from posedeploy.runtime import TensorInfo

CLIENT_SAMPLES = 3  # images that go through a client; each one is a whole pipeline
IMAGES = 1  # of those that are drawn for the report
PEOPLE_DRAWN = 3  # of a image: more would hide each other

OUTPUT_NAMES: Mapping[str, tuple[str, ...]] = {
    "": ("output",),
    "simcc": ("simcc_x", "simcc_y"),
    "yolox-pose": ("dets", "keypoints"),
    "rtmo": ("dets", "keypoints"),
}


def tolerance_of(cell: Cell) -> Tolerance:
    """The tolerance of a cell's flow.

    Raises:
        LookupError: Nobody has measured it; a flow without one must not pass.
    """
    row = tolerance_for(cell.flow.backend, cell.flow.precision)
    if row is None:
        raise LookupError(f"no tolerance for {cell.flow.backend} {cell.flow.precision}")
    return row


def alive(judge: Judge, cell: Cell) -> Verdict:
    """Outputs are finite, not constant, and depend on the image."""
    return judge_alive(judge.execution(cell), top_down=not cell.model.bottom_up)


def names_and_shapes(judge: Judge, cell: Cell) -> Verdict:
    """Inputs and outputs have DESIGN's names, and the shapes that they declare.

    A shape of `()` declares nothing: a runtime that knows it after a run only.  Whether it is the
    right one, `numbers` tells.
    """
    execution = judge.execution(cell)
    inputs, outputs = execution.loaded.inputs, execution.loaded.outputs
    found: list[tuple[str, object, object]] = [
        ("input names", [i.name for i in inputs], ["input"]),
        ("output names", tuple(o.name for o in outputs), _names(execution, cell)),
        ("input shape", inputs[0].shape[1:], (3, *cell.model.shape)),
        ("dynamic batch", isinstance(inputs[0].shape[0], str), cell.flow.shape_mode == "dynamic"),
    ]
    for info in outputs:
        ran = {b.outputs[info.name].shape[1:] for b in execution.batches}
        if info.shape:
            found.append((f"shape of {info.name}", ran, {tuple(info.shape[1:])}))
        sizes = [b.outputs[info.name].shape[0] for b in execution.batches]
        found.append((f"batch of {info.name}", sizes, [len(b.samples) for b in execution.batches]))
    return equal([*found, *_rows(execution, cell)])


def _rows(execution: Execution, cell: Cell) -> list[tuple[str, object, object]]:
    """A graph that holds suppression has a row for as many people as its configs promise."""
    promised = cell.model.places or cell.flow.places
    dets = execution.batches[0].outputs.get("dets")
    return [("rows of dets", dets.shape[1], promised)] if promised and dets is not None else []


def _names(execution: Execution, cell: Cell) -> tuple[str, ...]:
    """The contract's output names; where the rest is done on the host, in the graph's order."""
    found = tuple(info.name for info in execution.loaded.outputs)
    unfinished = is_unfinished(cell.model.variant, found)
    return found if unfinished else OUTPUT_NAMES[cell.model.variant]


def padding(judge: Judge, cell: Cell) -> Verdict:
    """Detections descend by score and are padded with zero rows."""
    return judge_rows(judge.execution(cell))


def numbers(judge: Judge, cell: Cell) -> Verdict:
    """Tensors, or matched detections, against PyTorch in float64."""
    execution = judge.execution(cell)  # first: what blocks it is what there is to say
    reference = judge.reference(cell.model, cell.flow.precision)
    compare = judge_detections if cell.model.bottom_up else judge_tensors
    return compare(execution, reference, tolerance_of(cell))


def batches(judge: Judge, cell: Cell) -> Verdict:
    """A batch equals its parts."""
    execution = judge.execution(cell)
    reference = judge.reference(cell.model, cell.flow.precision)
    return judge_overlap(execution, reference, tolerance_of(cell))


def keypoints(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints in px of the input."""
    execution, row = judge.execution(cell), tolerance_of(cell)
    reference = judge.reference(cell.model, cell.flow.precision)
    if cell.model.bottom_up:
        return judge_detected_keypoints(execution, reference, row)
    rows = {name: execution.rows(name) for name in reference.outputs}
    samples = next(iter(rows.values()))[1]
    decoded = judge.keypoints(cell.model, {name: values for name, (values, _) in rows.items()})
    return judge_keypoints(decoded, samples, reference, row)


def deploy_json(judge: Judge, cell: Cell) -> Verdict:
    """`deploy.json` and `pipeline.json` say what is true of the files."""
    folder = judge.conversion(cell).folder
    loaded = judge.execution(cell).loaded
    model = _read(judge, cell, "deploy.json")["models"][0]
    net = next(t for t in _tasks(judge, cell) if t["module"] == "Net")
    files = [name for name in (model["net"], model["weights"]) if name]
    return equal([
        ("deploy.json: backend", model["backend"], cell.flow.backend),
        ("deploy.json: precision", model["precision"], cell.flow.precision.upper()),
        ("deploy.json: dynamic_shape", model["dynamic_shape"],
         isinstance(loaded.inputs[0].shape[0], str)),
        ("pipeline.json: name of the net", net["name"], model["name"]),
        ("files that are missing", [n for n in files if not (folder / n).is_file()], []),
        ("files outside the folder", [n for n in files if outside(n)], []),
        ("pipeline.json: input_map",
         net["input_map"]["img"] in {"#0", loaded.inputs[0].name}, True),
        ("pipeline.json: output_map: no outputs of the graph",
         _strangers(net.get("output_map", {}).values(), loaded.outputs), []),
    ])  # fmt: skip


def _strangers(targets: Iterable[str], outputs: Sequence[TensorInfo]) -> list[str]:
    """Targets of an `output_map` that are neither a name nor a position of the graph's outputs."""
    known = {info.name for info in outputs} | {f"#{i}" for i in range(len(outputs))}
    return [target for target in targets if target not in known]


def pre_processing_shape(judge: Judge, cell: Cell) -> Verdict:
    """The pipeline resizes to the graph's input."""
    steps = {t["type"]: t for t in _tasks(judge, cell)[0]["transforms"]}
    resize = steps["BottomupResize" if cell.model.bottom_up else "TopDownAffine"]
    width, height = resize["input_size" if cell.model.bottom_up else "image_size"]
    shape = judge.execution(cell).loaded.inputs[0].shape
    return equal([("size of the resizing step", (height, width), tuple(shape[2:]))])


def client(judge: Judge, cell: Cell) -> Verdict:
    """Keypoints through the SDK client against mmpose's own, in image px."""
    answers = judge.client_answers(cell, CLIENT_SAMPLES)
    reference = judge.reference(cell.model, cell.flow.precision)
    verdict = judge_client(answers, reference, tolerance_of(cell), _places(judge, cell))
    return replace(verdict, images=_images(judge, reference, answers[:IMAGES]))


def _images(
    judge: Judge, reference: Reference, answers: Sequence[ClientAnswer]
) -> tuple[ImageRecord, ...]:
    """Reference and client's keypoints of those people of each sample that scored highest."""
    return tuple(
        overlay(
            sample.image,
            _highest(reference.image_keypoints[i], reference.image_scores[i]),
            _highest(answer.keypoints, answer.scores),
            sample.name,
        )
        for i, (sample, answer) in enumerate(zip(judge.samples, answers, strict=False))
    )


def _highest(keypoints: NDArray[Any], scores: NDArray[Any]) -> NDArray[Any]:
    return keypoints[np.argsort(-scores, kind="stable")[:PEOPLE_DRAWN]]


def _places(judge: Judge, cell: Cell) -> int:
    """How many people a client can give for a image: the graph's rows, or what is kept after."""
    if not cell.model.bottom_up:
        return 1
    params = _tasks(judge, cell)[-1]["params"]
    if is_unfinished(cell.model.variant, (i.name for i in judge.execution(cell).loaded.outputs)):
        return int(params["keep_top_k"])
    return int(judge.execution(cell).rows("dets")[0].shape[1])


Check = Callable[[Judge, Cell], Verdict]
# fmt: off
CHECKS: Mapping[str, tuple[str, Check]] = {
    "runs":                 ("run",       runs),
    "precision":            ("run",       precision),
    "alive":                ("finite",    alive),
    "graph":                ("contract",  graph),
    "batch_dimension":      ("contract",  batch_dimension),
    "names_and_shapes":     ("contract",  names_and_shapes),
    "padding":              ("contract",  padding),
    "numbers":              ("numeric",   numbers),
    "batches":              ("numeric",   batches),
    "layers":               ("numeric",   layers),
    "keypoints":            ("keypoints", keypoints),
    "accuracy":             ("keypoints", accuracy),
    "deploy_json":          ("sdk",       deploy_json),
    "pre_processing_shape": ("sdk",       pre_processing_shape),
    "client":               ("sdk",       client),
}
# fmt: on


def require(verdict: Verdict) -> Verdict:
    """The verdict itself.

    Raises:
        AssertionError: It holds failures; they are the message.
    """
    if verdict.failures:
        raise AssertionError("; ".join(verdict.failures))
    return verdict


def _read(judge: Judge, cell: Cell, name: str) -> Any:
    text = (judge.conversion(cell).folder / name).read_text(encoding="utf-8")
    return json.loads(text)


def _tasks(judge: Judge, cell: Cell) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = _read(judge, cell, "pipeline.json")["pipeline"]["tasks"]
    return tasks
