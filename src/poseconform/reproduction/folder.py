"""`--repro-dir`: a folder for each failing cell, ready for a report to the backend's authors.

    failure.txt      what failed, the log, and the command that re-runs the cell
    facts.json       versions, options, batches, allowed errors
    sdk_model/       the files that were judged
    inputs.npz       `input [S, 3, H, W]`, the network's input of every image
    reference.npz    name -> `[S, ...]` float64, what PyTorch computes
    output.npz       name -> `[R, ...]`, what the backend computed, batch after batch
    reproduce.py     runs the files on the inputs again; needs the backend alone

Files of stages that an earlier failure prevented are missing.
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.tolerances import tolerance_for
from poseconform.isolation.child import ChildFailure
from poseconform.judge.judge import file_names
from poseconform.judge.runs import Execution
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell, Model
from poseconform.reference.values import Reference
from poseconform.reproduction.script import FILE, script
from poseconform.subject.protocol import Conversion

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]


class Evidence(Protocol):
    """What the judge has of a cell."""

    def conversion(self, cell: Cell) -> Conversion:
        """The cell's SDK model folder."""

    def execution(self, cell: Cell) -> Execution:
        """What the backend computed."""

    def reference(self, model: Model, precision: str) -> Reference:
        """What PyTorch computes."""

    def device(self, cell: Cell) -> str:
        """Where its backend runs."""


@dataclass(frozen=True)
class Failure:
    """A failure, for its reproduction folder."""

    cell: Cell
    message: str  # one line
    log: str
    command: str  # re-runs the cell
    version: str  # of the backend
    packages: Mapping[str, str] = field(default_factory=dict)  # name -> version


def write(root: Path, failure: Failure, judge: Evidence | None, first: bool = True) -> Path:
    """Write the folder of a failing cell below `root`, and return it.

    `judge` gives the files and arrays, and is None if the test had no judge. The `first` failure
    of a cell in a run removes what an earlier run left; another adds to `failure.txt` alone.
    """
    folder, cell = root / failure.cell.id, failure.cell
    if first and (folder / "failure.txt").is_file():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "failure.txt").open("a", encoding="utf-8") as file:
        file.write(f"{failure.message}\n\n{failure.log}\n\nre-run: {failure.command}\n\n")
    if not first or judge is None:
        return folder
    conversion = _if_there(judge.conversion, cell)
    execution = _if_there(judge.execution, cell)
    reference = _if_there(judge.reference, cell.model, cell.flow.precision)
    if conversion:
        shutil.copytree(conversion.folder, folder / "sdk_model", dirs_exist_ok=True)
    for name, arrays in _arrays(cell, execution, reference).items():
        np.savez(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]  # its stub is wrong
    facts = _facts(failure, judge.device(cell), execution, reference)
    (folder / "facts.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    if conversion and reference:
        title = f"{cell.flow.backend} {failure.version}: {cell.id}: {failure.message}"
        (folder / FILE).write_text(script(title, cell.flow.backend), encoding="utf-8")
    return folder


def _if_there(ask: Callable[..., T], *arguments: Any) -> T | None:
    """What the judge has; None where an earlier failure, reported elsewhere, prevented it."""
    try:
        return ask(*arguments)
    except (Blocked, StageFailure, ChildFailure):
        return None


def _arrays(
    cell: Cell, execution: Execution | None, reference: Reference | None
) -> dict[str, Arrays]:
    """File -> its arrays by name."""
    output: Arrays = {}
    if execution:
        names = [info.name for info in execution.loaded.outputs]
        output = {name: execution.graph_rows(name)[0] for name in names}
    if not reference:
        return {"output": output}
    truth = dict(reference.outputs) or _detections(reference, output)
    if cell.flow.keypoints:
        decoded = reference.keypoints, reference.scores
        truth = dict(zip(cell.flow.keypoints, decoded, strict=True))
    return {"output": output, "inputs": {"input": reference.inputs}, "reference": truth}


def _detections(reference: Reference, output: Arrays) -> Arrays:
    """`dets [S, M, 5]` and `keypoints [S, M, K, 3]` of the truth, by score, M as the graph has it.

    `dets` has the class as its sixth column where the graph has it. Nothing where the graph ends
    before suppression.
    """
    if set(output) != {"dets", "keypoints"}:
        return {}
    points = reference.detections[0].possible.keypoints.shape[1]
    samples, (rows_of_dets, columns) = len(reference.detections), output["dets"].shape[1:]
    dets = np.zeros((samples, rows_of_dets, columns))
    keypoints = np.zeros((samples, rows_of_dets, points, 3))
    for i, truth in enumerate(reference.detections):
        people = truth.possible.select(truth.base)
        people = people.select(np.argsort(-people.scores, kind="stable")[:rows_of_dets])
        dets[i, : len(people), :4], dets[i, : len(people), 4] = people.boxes, people.scores
        if columns > 5 and people.labels is not None:
            dets[i, : len(people), 5] = people.labels
        keypoints[i, : len(people), :, :2] = people.keypoints
        keypoints[i, : len(people), :, 2] = people.keypoint_scores
    return {"dets": dets, "keypoints": keypoints}


def _facts(
    failure: Failure, device: str, execution: Execution | None, reference: Reference | None
) -> dict[str, Any]:
    flow = failure.cell.flow
    loaded = execution.loaded if execution else None
    single = [[i] for i in range(len(reference.inputs) if reference else 0)]
    batches = [b.samples for b in execution.batches] if execution else single
    return {
        "cell": failure.cell.id,
        "message": failure.message,
        "backend": flow.backend,
        "backend_version": failure.version,
        "precision": flow.precision,
        "device": device,
        "files": file_names(failure.cell),
        "input": loaded.inputs[0].name if loaded else "input",
        "dtype": loaded.inputs[0].dtype if loaded else "float32",
        "outputs": [info.name for info in loaded.outputs] if loaded else [],
        "options": dict(loaded.effective_options) if loaded else {},
        "batches": batches or single,
        "allowed": _allowed(failure.cell, reference),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": dict(failure.packages),
    }


def _allowed(cell: Cell, reference: Reference | None) -> dict[str, tuple[float, float]]:
    """Output -> allowed maximum and RMS error; of detections the largest of their parts."""
    if reference is None:
        return {}
    try:
        tolerance = tolerance_for(cell.flow.backend, cell.flow.precision)
    except LookupError:  # nobody has measured this flow, which is what its record says
        return {}
    errors: dict[str, tuple[float, float]] = {}
    for name in reference.ref_errors:
        output, limit = name.split(".")[0], reference.allowed(name, tolerance)
        largest, rms = errors.get(output, (0.0, 0.0))
        errors[output] = max(largest, limit.max), max(rms, limit.rms)
    return errors
