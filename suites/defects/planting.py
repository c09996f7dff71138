"""How a defect gets into good evidence: a folder, a checkpoint, options, or outputs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from poseconform.judge.judge import Judge
from poseconform.judge.runs import Execution
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import Plant
from posedeploy.paths import file_sha256
from posedeploy.runtime import SessionOptions

Graph = Any  # onnx has no types
Array = NDArray[Any]
FolderEdit = Callable[[Path], None]  # changes a folder that is a copy


def folder(edit: FolderEdit) -> Plant:
    """Change a copy of the SDK model folder."""

    def plant(judge: Judge, cell: Cell, scratch: Path) -> Judge:
        conversion = judge.conversion(cell)
        copy = scratch / "sdk"
        shutil.copytree(conversion.folder, copy)
        edit(copy)
        return judge.with_conversion(cell, replace(conversion, folder=copy))

    return plant


def converted(edit: FolderEdit) -> Plant:
    """The same for a defect of the conversion, which records checksums of what it wrote."""

    def change(copy: Path) -> None:
        edit(copy)
        path = copy / "detail.json"
        data = json.loads(path.read_text(encoding="utf-8"))
        for name, entry in data["posedeploy"]["files"].items():
            file = copy / name
            entry.update(sha256=file_sha256(file), bytes=file.stat().st_size)
        path.write_text(json.dumps(data), encoding="utf-8")

    return folder(change)


def onnx_edit(edit: Callable[[Any], None]) -> FolderEdit:
    """Change the ONNX model; what the exporter declared of shapes inside is dropped first."""

    def change(copy: Path) -> None:
        path = copy / "end2end.onnx"
        model = onnx.load(path)
        del model.graph.value_info[:]
        edit(model)
        path.unlink()
        onnx.save(model, path)

    return change


def onnx_model(edit: Callable[[Any], None], plant: Callable[..., Plant] = converted) -> Plant:
    """Change the ONNX model."""
    return plant(onnx_edit(edit))


def graph_edit(edit: Callable[[Graph], None]) -> FolderEdit:
    """Change the ONNX graph."""
    return onnx_edit(lambda model: edit(model.graph))


def graph(edit: Callable[[Graph], None]) -> Plant:
    """Change the ONNX graph."""
    return onnx_model(lambda model: edit(model.graph))


def json_edit(name: str, edit: Callable[[Any], None]) -> FolderEdit:
    """Change a JSON file of the folder."""

    def change(copy: Path) -> None:
        path = copy / name
        data = json.loads(path.read_text(encoding="utf-8"))
        edit(data)
        path.write_text(json.dumps(data), encoding="utf-8")

    return change


def json_file(name: str, edit: Callable[[Any], None]) -> Plant:
    """Change a JSON file of the folder."""
    return folder(json_edit(name, edit))


def deploy_json(**fields: object) -> Plant:
    """Other values for fields of the one model in `deploy.json`."""
    return json_file("deploy.json", lambda data: data["models"][0].update(fields))


def task_edit(index: int, edit: Callable[[Any], None]) -> FolderEdit:
    """Change a task of `pipeline.json`: 0 pre-processing, 1 the net, 2 post-processing."""
    return json_edit("pipeline.json", lambda data: edit(data["pipeline"]["tasks"][index]))


def task(index: int, edit: Callable[[Any], None]) -> Plant:
    """Change a task of `pipeline.json`, as `task_edit` does."""
    return folder(task_edit(index, edit))


def step_edit(kind: str, **fields: object) -> FolderEdit:
    """Other values for fields of a pre-processing step."""

    def edit(first: Any) -> None:
        (found,) = (s for s in first["transforms"] if s["type"] == kind)
        found.update(fields)

    return task_edit(0, edit)


def step(kind: str, **fields: object) -> Plant:
    """Other values for fields of a pre-processing step."""
    return folder(step_edit(kind, **fields))


def params_edit(**fields: object) -> FolderEdit:
    """Other values for parameters of the post-processing; None takes one away."""

    def edit(last: Any) -> None:
        last["params"].update({k: v for k, v in fields.items() if v is not None})
        for name in (name for name, value in fields.items() if value is None):
            last["params"].pop(name)

    return task_edit(2, edit)


def params(**fields: object) -> Plant:
    """Other values for parameters of the post-processing; None takes one away."""
    return folder(params_edit(**fields))


def checkpoint(edit: str, *args: object) -> Plant:
    """Convert from a checkpoint that a function of `doctored` has changed."""

    def plant(judge: Judge, cell: Cell, scratch: Path) -> Judge:
        good, bad = judge.checkpoint(cell.model), scratch / "doctored.pth"
        judge.in_torch(f"suites.defects.doctored:{edit}", cell.model.config, good, str(bad), *args)
        return judge.with_checkpoint(cell, bad)

    return plant


def of_another_checkpoint(name: str, plant: Callable[[Callable[[Path], None]], Plant]) -> Plant:
    """One of the backend's files is that of another checkpoint; `plant` is how it got there."""

    def exchanged(judge: Judge, cell: Cell, scratch: Path) -> Judge:
        (scratch / "other").mkdir()
        other = checkpoint("other_weights", 1)(judge, cell, scratch / "other").conversion(cell)

        def edit(copy: Path) -> None:
            (copy / name).unlink()
            shutil.copyfile(other.folder / name, copy / name)

        return plant(edit)(judge, cell, scratch)

    return exchanged


def subject(spec: str) -> Plant:
    """Convert by an implementation that a module of this folder has."""

    def plant(judge: Judge, cell: Cell, _scratch: Path) -> Judge:
        return judge.with_subject(cell, f"suites.defects.{spec}")

    return plant


def options(**fields: Any) -> Plant:
    """Tell the backend other session options than the flow stands for."""

    def plant(judge: Judge, cell: Cell, _scratch: Path) -> Judge:
        good = SessionOptions(precision=cell.flow.precision, threads=1)
        return judge.with_options(cell, replace(good, **fields))

    return plant


def outputs(edit: Callable[[Execution], Execution]) -> Plant:
    """Change what the backend gave."""

    def plant(judge: Judge, cell: Cell, _scratch: Path) -> Judge:
        return judge.with_execution(cell, edit(judge.execution(cell)))

    return plant


def both(first: Plant, second: Plant) -> Plant:
    """One defect on top of another."""

    def plant(judge: Judge, cell: Cell, scratch: Path) -> Judge:
        for name in ("first", "second"):
            (scratch / name).mkdir()
        return second(first(judge, cell, scratch / "first"), cell, scratch / "second")

    return plant


def initializer(owner: Graph, name: str) -> Array:
    """The value of a graph's initializer."""
    return np.asarray(numpy_helper.to_array(next(t for t in owner.initializer if t.name == name)))


def set_initializer(owner: Graph, name: str, value: Array) -> None:
    """Give an initializer another value; it is added if there is none of that name."""
    tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
    for known in owner.initializer:
        if known.name == name:
            known.CopyFrom(tensor)
            return
    owner.initializer.append(tensor)
