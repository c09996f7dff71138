"""Cells whose files can be made where their backend cannot run: how far they get, and what for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fixtures.fake_subject import FakeSubject, plugins
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.judge import runs
from poseconform.judge.judge import Judge
from poseconform.judge.runs import Execution
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.subject.clients import detector_of
from poseconform.subject.environment import Availabilities
from poseconform.subject.protocol import Conversion
from posedeploy.runtime import SessionOptions

pytest_plugins = ["pytester"]

TESTS = """
import pytest

@pytest.mark.anywhere
@pytest.mark.stage("convert")
def test_converts(cell, record):
    assert cell.id != "m2-simcc_tensorrt_static", "no file was written"

@pytest.mark.anywhere
@pytest.mark.stage("numeric")
def test_evaluates(cell, record):
    record(headroom=0.5 if record.unavailable else 0.7)

@pytest.mark.stage("run")
def test_runs(cell): pass
"""
CELL = Cell(
    Model("m", "RTMPose", (), "simcc", (64, 48), "m.py"),
    Flow("pose-detection_simcc_coreml_static", "simcc", "coreml", "fp32", "static", None),
)


@pytest.fixture
def results(inner_run: pytest.Pytester) -> Any:
    """Runs the tests above, and gives the cells that were judged."""

    def run(*options: str, subject: str = "FakeSubject") -> dict[str, dict[str, Any]]:
        inner_run.makepyfile(test_cells=TESTS)
        inner_run.runpytest_inprocess(*plugins(subject), "--report-dir", "report", *options)
        cells = json.loads((inner_run.path / "report/results.json").read_text())["cells"]
        return {f"{c['model']}-{c['backend']}-{c['shape_mode']}": c for c in cells}

    return run


def stages(cell: dict[str, Any]) -> dict[str, str]:
    return {stage["name"]: stage["outcome"] for stage in cell["stages"]}


def test_what_passes_without_the_backend_is_told_and_is_no_pass(results: Any) -> None:
    cells = results()
    cell = cells["m1-tensorrt-static"]
    assert cell["outcome"] == "unavailable:no-driver"
    assert (cell["code"], cell["reason"]) == ("no-driver", "libcuda.so.1 is not there")
    assert stages(cell) == {"convert": "pass", "numeric": "pass"}
    assert cell["headroom"] == 0.5
    here = cells["m1-onnxruntime-static"]
    assert (here["outcome"], here["headroom"]) == ("pass", 0.7)


def test_what_fails_without_the_backend_is_a_failure(results: Any) -> None:
    cell = results()["m2-tensorrt-static"]
    assert cell["outcome"] == "failed:convert"
    assert "no file was written" in cell["reason"]


def test_where_files_cannot_be_made_either_everything_is_skipped(results: Any) -> None:
    cell = results(subject="converts_nothing")["m1-tensorrt-static"]
    assert (cell["outcome"], cell["stages"]) == ("unavailable:no-driver", [])


def test_what_is_required_fails_all_the_same(results: Any) -> None:
    cell = results("--require", "tensorrt")["m1-tensorrt-static"]
    assert cell["outcome"] == "failed:load"
    assert "tensorrt is required but unavailable: no-driver" in cell["reason"]


class Evaluating(Judge):
    """A judge whose backend fails, or gives an answer."""

    answer: Execution | Exception | None = None

    def conversion(self, cell: Cell) -> Conversion:
        del cell
        return Conversion(Path("sdk"), {}, {}, {}, "")

    def _execute(self, cell: Cell, evaluate: bool = False) -> Execution:
        del cell
        assert evaluate, "the backend must not run"
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


@pytest.fixture
def judge(tmp_path: Path) -> Evaluating:
    return Evaluating(ArtifactCache(tmp_path), [], Availabilities(FakeSubject()), tmp_path)


def test_the_judges_own_reading_takes_the_place_of_the_backends(judge: Evaluating) -> None:
    judge.answer = Execution(runs.Loaded((), (), {"evaluator": "x"}, 0.0), ())
    assert judge.evaluating(CELL).execution(CELL) is judge.answer
    judge.answer = RuntimeError("it is evaluated once")
    assert judge.evaluating(CELL).execution(CELL).loaded.effective_options["evaluator"] == "x"


@pytest.mark.parametrize(("stage", "shown"), [("load", "numeric"), ("run", "numeric"),
                                              ("convert", "convert")])  # fmt: skip
def test_a_reading_that_fails_is_not_laid_to_the_backend(
    judge: Evaluating, stage: str, shown: str
) -> None:
    judge.answer = StageFailure(stage, "crash", "SIGSEGV in it", "SIGSEGV", "last words")
    with pytest.raises(StageFailure) as caught:
        judge.evaluating(CELL)
    failure = caught.value
    assert (failure.stage, failure.kind, failure.code) == (shown, "crash", "SIGSEGV")
    assert failure.log_tail == "last words"
    with pytest.raises(Blocked):
        judge.evaluating(CELL)


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """A graph that doubles its input."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["input", "input"], ["output"])], "double",
        [value("input", TensorProto.FLOAT, [1, 3])], [value("output", TensorProto.FLOAT, [1, 3])],
    )  # fmt: skip
    path = tmp_path / "end2end.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path


def test_pplnns_graphs_are_evaluated_in_float32_by_onnx_runtime(double: Path) -> None:
    loaded = runs.load("pplnn", [str(double)], "cuda", SessionOptions("fp16"), evaluate=True)
    assert loaded.effective_options == {"evaluator": "onnxruntime"}
    assert [info.name for info in loaded.inputs] == ["input"]
    got = runs.run(np.ones((1, 3), np.float32)).outputs["output"]
    np.testing.assert_array_equal(got, np.full((1, 3), 2.0, np.float32))


def test_only_some_backends_have_an_evaluator() -> None:
    with pytest.raises(ValueError, match="no evaluator for tensorrt"):
        runs.load("tensorrt", ["x"], "cuda", SessionOptions(), evaluate=True)


@pytest.mark.parametrize(
    ("device", "expected"), [("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:2", ("cuda", 2))]
)
def test_the_sdk_client_runs_where_the_backend_does(
    device: str, expected: tuple[str, int]
) -> None:
    assert detector_of("folder", device, lambda _folder, *where: where) == expected


@pytest.mark.parametrize(
    ("backend", "precision", "device", "expected"),
    [("coreml", "fp32", "", "cpu"), ("onnxruntime", "fp32", "cuda:1", "cuda:1"),
     ("pplnn", "fp16", "", "cuda")],
)  # fmt: skip
def test_a_cell_runs_where_the_user_wants_it(
    judge: Evaluating, backend: str, precision: str, device: str, expected: str
) -> None:
    judge.availabilities.device = device
    flow = Flow("x", "simcc", backend, precision, "static", None)
    assert judge.device(Cell(CELL.model, flow)) == expected
