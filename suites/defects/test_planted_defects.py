"""Known ways in which a deployment goes wrong, planted on purpose: the named check must fail.

A defect changes a copy of a good SDK model folder; the judge's ordinary checks run on the copy.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from poseconform import implementations
from poseconform.checks import CHECKS
from poseconform.matrix import Cell, build_cells
from poseconform.recording import DEFECT
from poseconform.session import Judge
from poseconform.stages import Blocked, StageFailure

pytestmark = [pytest.mark.fp32, pytest.mark.onnxruntime]


@dataclass(frozen=True)
class Defect:
    """One planted defect.

    Attributes:
        name: What is wrong.
        simulates: Where it comes from in real life.
        plant: Changes a folder.
        caught_by: The check that must fail; those before it must pass.
    """

    name: str
    simulates: str
    plant: Callable[[Path], None]
    caught_by: str


def edit_graph(folder: Path, change: Callable[[Any], None]) -> None:
    path = folder / "end2end.onnx"
    model = onnx.load(path)
    change(model.graph)
    onnx.save(model, path)


def bias_on_one_conv(folder: Path) -> None:
    def change(graph: Any) -> None:
        convs = [n for n in graph.node if n.op_type == "Conv" and len(n.input) == 3]
        name = convs[len(convs) // 2].input[2]
        bias = next(t for t in graph.initializer if t.name == name)
        value = numpy_helper.to_array(bias)
        changed = value + np.float32(1e-3 * (np.abs(value).max() + 1))
        bias.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), name))

    edit_graph(folder, change)


def swap_outputs(folder: Path) -> None:
    """Both names stay, each on the other's tensor; shapes are declared anew."""

    def change(graph: Any) -> None:
        swap = {"simcc_x": "simcc_y", "simcc_y": "simcc_x"}
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [swap.get(n, n) for n in names]
        by_name = {o.name: o for o in graph.output}
        x, y = by_name["simcc_x"], by_name["simcc_y"]
        shape = onnx.TypeProto()
        shape.CopyFrom(x.type)
        x.type.CopyFrom(y.type)
        y.type.CopyFrom(shape)

    edit_graph(folder, change)


def swap_colours(folder: Path) -> None:
    path = folder / "pipeline.json"
    data = json.loads(path.read_text())
    for step in data["pipeline"]["tasks"][0]["transforms"]:
        if step["type"] == "Normalize":
            step["to_rgb"] = not step["to_rgb"]
    path.write_text(json.dumps(data))


DEFECTS = (
    Defect("a bias added to one convolution", "a kernel that rounds or a wrong BN fold",
           bias_on_one_conv, "numbers"),
    Defect("simcc_x and simcc_y swapped", "outputs listed in another order than computed",
           swap_outputs, "numbers"),
    Defect("RGB and BGR swapped in pipeline.json", "to_rgb false instead of true",
           swap_colours, "client"),
)  # fmt: skip


@pytest.fixture(scope="module")
def good() -> Cell:
    models, flows = implementations.models(["rtmpose_t"]), implementations.flows()
    cells = build_cells(models, flows)
    return next(c for c in cells if c.flow.label == "simcc_onnxruntime_static")


def checks_for(cell: Cell) -> list[str]:
    unfit = {"padding"} if not cell.model.bottom_up else set()
    unfit |= {"batches"} if cell.flow.shape_mode == "static" else set()
    return [name for name in CHECKS if name not in unfit]


def failing(judge: Judge, cell: Cell) -> list[str]:
    return [name for name in checks_for(cell) if fails(judge, cell, name)]


def fails(judge: Judge, cell: Cell, name: str) -> bool:
    try:
        return bool(CHECKS[name][1](judge, cell).complaints)
    except (StageFailure, Blocked):
        return True


def test_the_good_folder_passes_every_check(judge: Judge, good: Cell) -> None:
    assert failing(judge, good) == []


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda d: d.name)
def test_the_named_check_catches_it(
    defect: Defect,
    judge: Judge,
    good: Cell,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    request.node.user_properties.append((DEFECT, defect.name))
    folder = tmp_path / "sdk"
    conversion = judge.conversion(good)
    shutil.copytree(conversion.folder, folder)
    defect.plant(folder)
    caught = failing(judge.with_conversion(good, replace(conversion, folder=folder)), good)
    assert caught, "no check failed"
    assert caught[0] == defect.caught_by, f"caught by {caught}"
