"""Flows below fp32, sabotaged: the checks that judge them must fail.

A good SDK model folder is copied, its graph is replaced by a bad one, and the checks run on the
copy. The faults are those of real deployments: ranges measured on the wrong images, layers
quantized that must not be, sums of squares that leave fp16's range.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from poseconform.checks.table import CHECKS
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import figure_reference, float_cell
from poseconform.matrix.cells import Cell, build_cells
from poseconform.matrix.weights import with_weights
from poseconform.planted.defects import failure_of
from poseconform.subject.protocol import Subject
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.qdq import RECIPES, quantize_onnx
from posedeploy.runtime.openvino import INFERENCE_PRECISION

MODEL = "rtmpose_t"
GRAPH = "end2end.onnx"
IMAGES = 16  # to calibrate on
OVERFLOW = 1024.0  # times the largest value of a row, which is 1


def cell_of(subject: Subject, label: str) -> Cell:
    models, flows = subject.models([MODEL]), subject.flows()
    cells = with_weights(build_cells(models, flows), "auto", subject.locating_weights)
    return next(cell for cell in cells if cell.flow.label == label)


def failures(judge: Judge, cell: Cell, *names: str) -> dict[str, str]:
    """The failures of each check, or the failure of its stage."""
    return {name: failure_of(judge, cell, CHECKS[name]) for name in names}


def sabotaged(judge: Judge, cell: Cell, folder: Path, plant: Callable[[Path], object]) -> Judge:
    """A judge that sees a copy of the cell's folder with another graph."""
    conversion = judge.conversion(cell)
    shutil.copytree(conversion.folder, folder)
    plant(folder)
    return judge.with_conversion(cell, replace(conversion, folder=folder))


# ---- int8 ------------------------------------------------------------------------------------


@pytest.fixture
def int8(judge: Judge) -> Cell:
    return cell_of(judge.subject, "simcc_onnxruntime-int8_static")


def quantized(judge: Judge, cell: Cell, inputs: NDArray[np.float32], **more: Any) -> Any:
    """What quantizes the cell's float32 graph on these inputs."""
    exact = judge.convert(float_cell(cell, judge.subject.flows())).folder / GRAPH

    def each() -> Iterator[NDArray[np.float32]]:
        yield from (one[None] for one in inputs)

    images = CalibrationSet("sabotage", len(inputs), each)
    return lambda folder: quantize_onnx(
        exact, folder / GRAPH, images, RECIPES["onnxruntime"], **more
    )


@pytest.mark.int8
@pytest.mark.onnxruntime
def test_an_honest_int8_graph_passes(judge: Judge, int8: Cell, tmp_path: Path) -> None:
    """Planted in the same way, without a fault: the failures below come from their faults."""
    figures = figure_reference(judge, int8.model).inputs[-IMAGES:]
    plant = quantized(judge, int8, figures)
    found = failures(sabotaged(judge, int8, tmp_path / "sdk", plant), int8, "layers", "accuracy")
    assert found == {"layers": "", "accuracy": ""}


@pytest.mark.int8
@pytest.mark.onnxruntime
def test_ranges_measured_on_noise_fail(judge: Judge, int8: Cell, tmp_path: Path) -> None:
    shape = (IMAGES, 3, *int8.model.shape)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    bad = sabotaged(judge, int8, tmp_path / "sdk", quantized(judge, int8, noise))
    found = failures(bad, int8, "layers", "accuracy")
    assert "quantized layers have less than" in found["layers"]
    assert "mean shift of the keypoints" in found["accuracy"]


@pytest.mark.int8
@pytest.mark.onnxruntime
def test_quantizing_what_must_stay_in_float32_fails(
    judge: Judge, int8: Cell, tmp_path: Path
) -> None:
    """The last layers too: their noise is small, and what comes out has 256 steps."""
    figures = figure_reference(judge, int8.model).inputs[-IMAGES:]
    plant = quantized(judge, int8, figures, keep=())
    bad = sabotaged(judge, int8, tmp_path / "sdk", plant)
    found = failures(bad, int8, "layers", "accuracy")
    assert "it is quantized itself" in found["layers"]
    assert "mean shift of the keypoints" in found["accuracy"]


# ---- fp16 ------------------------------------------------------------------------------------


@pytest.fixture
def fp16(judge: Judge) -> Cell:
    """ONNX Runtime has no fp16 kernels on a CPU and takes the casts between its own away."""
    return cell_of(judge.subject, "simcc_openvino-fp16-f16_static-256x192")


def scaled_norms(graph: Any) -> None:
    """Multiply what every norm reads by 1024, in place: x / |x| stays what it is.

    The norm is written as the root of a sum of squares, which is how hardware computes it that
    has no such operator; OpenVINO's own keeps the sum in float32.

    Args:
        graph: A float32 graph; a norm is a ReduceL2 with a Div behind it.
    """
    graph.initializer.append(numpy_helper.from_array(np.float32(OVERFLOW), "overflow"))
    graph.initializer.append(numpy_helper.from_array(np.asarray([-1]), "last_axis"))
    for norm in [node for node in graph.node if node.op_type == "ReduceL2"]:
        read, name = norm.input[0], f"{norm.name}/scaled"
        for reader in graph.node:
            if reader.op_type == "Div" and reader.input[0] == read:
                reader.input[0] = name
        square, total = f"{name}/square", f"{name}/sum"
        made = (
            helper.make_node("Mul", [read, "overflow"], [name], name),
            helper.make_node("Mul", [name, name], [square], square),
            helper.make_node("ReduceSum", [square, "last_axis"], [total], total, keepdims=1),
            helper.make_node("Sqrt", [total], list(norm.output), f"{name}/root"),
        )
        place = list(graph.node).index(norm)
        del graph.node[place]
        for offset, node in enumerate(made):
            graph.node.insert(place + offset, node)


def scaled(judge: Judge, cell: Cell, scratch: Path, precision: str) -> Callable[[Path], object]:
    """What writes the cell's model with scaled norms as an IR that is computed in f16 or f32."""
    ov = pytest.importorskip("openvino")
    exact = Cell(cell.model, cell_of(judge.subject, "simcc_onnxruntime_static").flow)
    model = onnx.load(judge.convert(exact).folder / GRAPH)
    scaled_norms(model.graph)
    onnx.save(model, scratch / "scaled.onnx")

    def write(folder: Path) -> None:
        made = ov.convert_model(scratch / "scaled.onnx")
        made.set_rt_info(precision, list(INFERENCE_PRECISION))
        ov.save_model(made, folder / "end2end.xml", compress_to_fp16=True)

    return write


@pytest.mark.fp16
@pytest.mark.openvino
def test_norms_that_leave_the_range_of_fp16_fail(judge: Judge, fp16: Cell, tmp_path: Path) -> None:
    """Computed in f32 the same file passes: it is the range of fp16 that it leaves."""
    computes = judge.availabilities.of("openvino", inference_precision="f16")
    if not computes.ok:
        pytest.skip(f"unavailable:{computes.code}: {computes.reason}")
    found = {}
    for precision in ("f32", "f16"):
        plant = scaled(judge, fp16, tmp_path, precision)
        planted = sabotaged(judge, fp16, tmp_path / precision, plant)
        found[precision] = failures(planted, fp16, "tensors", "accuracy")
    assert found["f32"] == {"tensors": "", "accuracy": ""}
    assert "exceeds the allowed" in found["f16"]["tensors"]
    assert "mean shift of the keypoints" in found["f16"]["accuracy"]
