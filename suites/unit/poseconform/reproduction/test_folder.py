"""The folder that shows a failure again: its script needs the backend alone, and sees it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fixtures.builders import (
    as_outputs,
    make_cell,
    make_execution,
    make_people,
    make_reference,
    make_truth,
)
from poseconform.judge.runs import Execution
from poseconform.judge.stages import Blocked
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin import reproduction as repro
from poseconform.reference.values import Reference
from poseconform.reproduction import folder as repro_folder
from poseconform.reproduction.folder import Failure, write
from poseconform.reproduction.script import script
from poseconform.subject.protocol import Conversion
from posedeploy.runtime import SessionOptions, backend_names, backend_row, get_runtime

SAMPLES, SHAPE = 3, (3, 4, 5)
WRONG = 1.01  # what the graph multiplies with; the reference has 1
PARAM = """7767517
2 2
Input input 0 1 input 0=5 1=4 2=3
BinaryOp times 1 1 input output 0=2 1=1 2=1.01
"""


def times(path: Path, factor: float) -> None:
    floats = TensorProto.FLOAT
    node = helper.make_node("Mul", ["input", "factor"], ["output"])
    shape = ["batch", *SHAPE]
    graph = helper.make_graph(
        [node], "times", [helper.make_tensor_value_info("input", floats, shape)],
        [helper.make_tensor_value_info("output", floats, shape)],
        [helper.make_tensor("factor", floats, [], [factor])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def make_files(backend: str, folder: Path) -> None:
    """Files of a graph that is wrong by one part in a hundred."""
    if backend == "onnxruntime":
        times(folder / "end2end.onnx", WRONG)
    elif backend == "openvino":
        import openvino

        times(folder / "source.onnx", WRONG)
        openvino.save_model(
            openvino.convert_model(folder / "source.onnx"), folder / "end2end.xml", False
        )
    elif backend == "ncnn":
        (folder / "end2end.param").write_text(PARAM)
        (folder / "end2end.bin").write_bytes(b"")
    else:
        import torch

        class Times(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x * WRONG

        trace: Any = torch.jit.trace  # it has no annotations
        trace(Times(), torch.zeros(1, *SHAPE)).save(str(folder / "end2end.pt"))


@dataclass
class Judge:
    """Has `values`; what is not among them, an earlier failure blocks."""

    folder: Path
    values: dict[str, Any] = field(default_factory=dict)

    def _get(self, name: str) -> Any:
        if name not in self.values:
            raise Blocked(name, "it failed")
        return self.values[name]

    def conversion(self, _cell: Cell) -> Conversion:
        return Conversion(self._get("folder"), {}, {}, {}, "")

    def device(self, _cell: Cell) -> str:
        return "cpu"

    def execution(self, _cell: Cell) -> Execution:
        execution: Execution = self._get("execution")
        return execution

    def reference(self, _model: Any, _precision: str) -> Reference:
        reference: Reference = self._get("reference")
        return reference


def judge_of(backend: str, tmp_path: Path, truth_is: float = 1.0) -> Judge:
    """A judge that has run the backend's files for real."""
    folder = tmp_path / "sdk"
    folder.mkdir()
    make_files(backend, folder)
    row = backend_row(backend)
    inputs = np.random.default_rng(0).normal(size=(SAMPLES, *SHAPE)).astype(np.float32)
    files = [folder / name for name in (row.main_file, row.weights_file) if name]
    session = get_runtime(backend).load(files, "cpu", SessionOptions("fp32", 1))
    rows = np.concatenate(
        [session.run({session.inputs[0].name: x[None]})[session.outputs[0].name] for x in inputs]
    )
    execution = make_execution({session.outputs[0].name: rows})
    loaded = replace(
        execution.loaded, inputs=session.inputs, effective_options=dict(session.effective_options)
    )
    reference = make_reference(
        {session.outputs[0].name: truth_is * inputs.astype(np.float64)}, inputs=inputs
    )
    values = {
        "folder": folder, "execution": replace(execution, loaded=loaded), "reference": reference,
    }  # fmt: skip
    return Judge(folder, values)


def failure_of(cell: Cell, message: str = 'output: 3 is "too" much') -> Failure:
    return Failure(cell, message, "the log", "pytest -k it", "1.2.3", {"numpy": "2.0"})


def run_script(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(folder / "reproduce.py")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("backend", ["ncnn", "onnxruntime", "openvino", "torchscript"])
def test_the_script_alone_sees_the_difference(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend_row(backend).distribution)
    cell = make_cell("", backend=backend)
    judge = judge_of(backend, tmp_path)
    folder = write(tmp_path / "repro", failure_of(cell), judge)
    assert folder == tmp_path / "repro" / cell.id
    text = (folder / "reproduce.py").read_text()
    assert "posedeploy" not in text
    assert "poseconform" not in text
    lines = [line for line in text.split('"""')[2].splitlines() if line]
    assert len(lines) <= 36, len(lines)
    ran = run_script(folder)
    assert ran.returncode == 1, ran.stderr
    name = next(iter(judge.values["reference"].outputs))
    assert ran.stdout.startswith(f"{name}: DIFFERS: maximum and RMS error (")
    assert f"{name}: 0 from the run that was judged" in ran.stdout


def test_the_script_agrees_where_nothing_differs(tmp_path: Path) -> None:
    judge = judge_of("onnxruntime", tmp_path, truth_is=WRONG)
    ran = run_script(write(tmp_path / "repro", failure_of(make_cell("")), judge))
    assert (ran.returncode, ran.stdout[:14]) == (0, "output: agrees"), ran.stderr


def test_a_batch_may_have_fewer_rows_than_another(tmp_path: Path) -> None:
    judge = judge_of("onnxruntime", tmp_path, truth_is=WRONG)
    folder = write(tmp_path / "repro", failure_of(make_cell("")), judge)
    for name in ("output", "reference"):  # as the judge writes them: padded to the most rows
        arrays = dict(np.load(folder / f"{name}.npz"))
        padded = {key: np.pad(a, [(0, 0), (0, 2), (0, 0), (0, 0)]) for key, a in arrays.items()}
        np.savez(folder / f"{name}.npz", **padded)  # type: ignore[arg-type]
    ran = run_script(folder)
    assert (ran.returncode, ran.stdout[:14]) == (0, "output: agrees"), ran.stderr


def test_an_error_that_is_too_large_in_rms_alone_is_seen(tmp_path: Path) -> None:
    judge = judge_of("onnxruntime", tmp_path)
    reference = judge.values["reference"]
    ref_error = replace(reference.ref_errors["output"], max=1.0, rms=1e-9)
    judge.values["reference"] = replace(reference, ref_errors={"output": ref_error})
    ran = run_script(write(tmp_path / "repro", failure_of(make_cell("")), judge))
    assert (ran.returncode, ran.stdout[:15]) == (1, "output: DIFFERS"), ran.stderr


def test_the_folder_has_what_was_judged_and_how(tmp_path: Path) -> None:
    judge = judge_of("onnxruntime", tmp_path)
    folder = write(tmp_path / "repro", failure_of(make_cell("")), judge)
    facts = json.loads((folder / "facts.json").read_text())
    assert (facts["backend"], facts["backend_version"]) == ("onnxruntime", "1.2.3")
    assert (facts["files"], facts["input"]) == (["end2end.onnx"], "input")
    assert facts["batches"] == [[0], [1], [2]]
    assert min(facts["allowed"]["output"]) > 0
    assert facts["options"]["inference_precision"] == "fp32"
    assert "numpy" in facts["packages"]
    assert (folder / "sdk_model" / "end2end.onnx").is_file()
    assert np.load(folder / "inputs.npz")["input"].shape == (SAMPLES, *SHAPE)
    assert np.load(folder / "reference.npz")["output"].dtype == np.float64
    assert np.load(folder / "output.npz")["output"].shape == (SAMPLES, *SHAPE)
    text = (folder / "failure.txt").read_text()
    assert 'output: 3 is "too" much' in text
    assert text.endswith("re-run: pytest -k it\n\n")


def test_a_second_failure_is_added_and_another_run_begins_anew(tmp_path: Path) -> None:
    cell, judge = make_cell(""), Judge(tmp_path)
    folder = write(tmp_path, failure_of(cell, "one"), judge)
    write(tmp_path, failure_of(cell, "two"), judge, first=False)
    text = (folder / "failure.txt").read_text()
    assert text.index("one") < text.index("two")
    (folder / "stale").write_text("")
    write(tmp_path, failure_of(cell, "three"), judge)
    assert not (folder / "stale").exists()
    assert "one" not in (folder / "failure.txt").read_text()


@pytest.mark.parametrize(
    ("values", "files"),
    [
        ((), {"failure.txt", "facts.json", "output.npz"}),
        (("folder",), {"failure.txt", "facts.json", "output.npz", "sdk_model"}),
        (("folder", "reference"),
         {"failure.txt", "facts.json", "output.npz", "sdk_model", "inputs.npz", "reference.npz",
          "reproduce.py"}),
    ],
)  # fmt: skip
def test_what_an_earlier_failure_left_nothing_of_is_left_out(
    values: tuple[str, ...], files: set[str], tmp_path: Path
) -> None:
    judge = judge_of("onnxruntime", tmp_path)
    judge.values = {name: judge.values[name] for name in values}
    folder = write(tmp_path / "repro", failure_of(make_cell("")), judge)
    assert {path.name for path in folder.iterdir()} == files


def test_without_a_judge_there_is_the_message(tmp_path: Path) -> None:
    folder = write(tmp_path, failure_of(make_cell()), None)
    assert [path.name for path in folder.iterdir()] == ["failure.txt"]


def test_the_truth_of_a_detector_has_the_graphs_rows(tmp_path: Path) -> None:
    people = make_people([0.9, 0.5, 0.7])
    truth = make_truth(people)
    outputs = as_outputs([people, people], places=2)
    judge = Judge(tmp_path, {
        "folder": tmp_path / "none",
        "execution": make_execution(outputs),
        "reference": make_reference(truths=[truth, truth]),
    })  # fmt: skip
    (tmp_path / "none").mkdir()
    folder = write(tmp_path / "repro", failure_of(make_cell("rtmo")), judge)
    reference = np.load(folder / "reference.npz")
    assert reference["dets"].shape == (2, 2, 5)
    assert reference["dets"][0, :, 4].tolist() == [0.9, 0.7]
    np.testing.assert_array_equal(reference["keypoints"][1, 1, :, :2], people.keypoints[2])
    np.testing.assert_array_equal(reference["keypoints"][1, 1, :, 2], people.keypoint_scores[2])
    assert set(json.loads((folder / "facts.json").read_text())["allowed"]) == {"dets", "keypoints"}
    dense = make_execution({"boxes": np.zeros((2, 9, 4)), "scores": np.zeros((2, 9))})
    judge.values["execution"] = dense
    folder = write(tmp_path / "dense", failure_of(make_cell("rtmo")), judge)
    assert np.load(folder / "reference.npz").files == []


@pytest.mark.parametrize("backend", backend_names())
def test_every_backends_script_is_a_program(backend: str) -> None:
    text = script('a "title" with \\ in it', backend)
    compile(text, "reproduce.py", "exec")
    assert text.startswith('"""a \'title\' with / in it')


def report_of(longrepr: Any) -> pytest.TestReport:
    return pytest.TestReport("t", ("t.py", 1, "t"), {}, "failed", longrepr, "call")


def test_a_failure_ends_with_its_section_whatever_pytest_made_of_it() -> None:
    try:
        raise AssertionError("no")
    except AssertionError:
        info = pytest.ExceptionInfo.from_current()
    shown = report_of(info.getrepr())
    repro.end_with(shown, "again", "the command")
    assert shown.longreprtext.splitlines()[-1] == "the command"
    words = report_of("all there is")
    repro.end_with(words, "again", "the command")
    assert words.longreprtext == "all there is\nagain:\nthe command"
    nothing = report_of(("t.py", 1, "why"))
    repro.end_with(nothing, "again", "the command")
    assert nothing.sections == [("again", "the command")]


def test_the_files_are_those_of_the_docstring() -> None:
    names = ("facts.json", "inputs.npz", "reference.npz", "output.npz", "reproduce.py")
    assert all(name in (repro_folder.__doc__ or "") for name in names)
