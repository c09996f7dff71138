"""What the judge asks of its children below float32, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fixtures.builders import make_cell
from fixtures.fake_subject import FakeSubject
from poseconform.checks import precision as precision_checks
from poseconform.datasets.accuracy import ACCURACY_FILE, FIGURES, Figure
from poseconform.evaluators.quantized.noise import LayerNoise, Quantized
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.isolation.child import ChildCrash, ChildFailure
from poseconform.judge import measuring
from poseconform.judge.execution import Ran
from poseconform.judge.judge import Judge
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.reference.values import Sample
from poseconform.subject.availability import Availabilities
from poseconform.subject.protocol import Conversion

INT8 = make_cell(precision="int8")
TRUTH = np.random.default_rng(2).uniform(20, 180, (4, 17, 2))
QUIET = Quantized((LayerNoise("l", "Conv", 40.0),), 1)
FIGURE = Figure(Sample("f", np.zeros((4, 4, 3), np.uint8), (0, 0, 4, 4)), np.zeros((17, 2)))


def some_figures(count: int) -> Sequence[Figure]:
    return [FIGURE] * min(count, 4)


class Children:
    """Answers instead of children; what is an exception is raised."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {
            "measure": QUIET,
            "load": None,
            "run": Ran({"simcc_x": np.zeros((1, 17, 8))}, 0.1),
            "decode": TRUTH,
            "write_accuracy": self.write_accuracy,
        }

    def write_accuracy(self, *args: Any) -> dict[str, object]:
        inputs, sizes = np.zeros((4, 3, 8, 8), np.float32), np.full((4, 2), 100.0)
        np.savez(
            Path(args[-1]) / ACCURACY_FILE,
            inputs=inputs,
            keypoints=TRUTH,
            truth=TRUTH,
            sizes=sizes,
        )
        return {"figures": 4}

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_error: object) -> None:
        return

    def call(self, target: str, *args: Any, timeout: float) -> Any:
        name = target.rpartition(":")[2]
        self.asked.append((target, args))
        assert timeout != 0
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer


@pytest.fixture
def children() -> Children:
    return Children()


NO_OUTPUTS = SimpleNamespace(loaded=SimpleNamespace(outputs=()))  # an execution


def exact_flow(cell: Cell) -> Flow:
    """The fp32 flow of a cell's backend and shape mode."""
    label = f"simcc_{cell.flow.backend}_{cell.flow.shape_mode}"
    return replace(cell.flow, precision="fp32", deploy_config=label)


def make_judge(children: Children, folder: Path, cell: Cell = INT8, inputs: Any = None) -> Judge:
    """A judge that converts nothing, and whose children are answers."""

    class Answering(Judge):
        def child(self, name: str) -> Any:
            del name
            return children

        def in_torch(self, target: str, *args: Any, timeout: float | None = None) -> Any:
            return children.call(target, *args, timeout=timeout)  # type: ignore[arg-type]

        def reference_parts(self, *_args: Any) -> dict[str, object]:
            return {"some": "parts"}

        def checkpoint(self, model: Model) -> str:
            del model
            return "m.pth"

        def execution(self, cell: Cell) -> Any:
            del cell
            return NO_OUTPUTS

        def convert(self, cell: Cell) -> Conversion:
            return Conversion(Path(cell.flow.label), {}, {}, {}, "")

        def reference(self, model: Model, precision: str) -> Any:
            del model, precision
            return SimpleNamespace(inputs=inputs)

    subject = FakeSubject(known_flows=(cell.flow, exact_flow(cell)))
    cache = ArtifactCache(folder / "cache")
    return Answering(cache, [], Availabilities(subject), folder, figures=some_figures)


@pytest.fixture
def judge(children: Children, tmp_path: Path) -> Judge:
    return make_judge(children, tmp_path)


def test_the_twin_is_the_same_flow_in_fp32_with_the_same_weights(judge: Judge) -> None:
    cell = replace(INT8, model=replace(INT8.model, weights="fitted"))
    twin = measuring.float_twin(judge, cell)
    assert (twin.flow.precision, twin.flow.backend) == ("fp32", "onnxruntime")
    assert twin.model == cell.model


def test_a_flow_without_a_twin_fails_and_says_so(judge: Judge) -> None:
    with pytest.raises(StageFailure, match=r"no fp32 flow to compare .*int8"):
        measuring.float_twin(judge, make_cell(precision="int8", shape_mode="dynamic"))


def test_layers_are_measured_once_on_the_files_of_both(judge: Judge, children: Children) -> None:
    assert precision_checks.layers(judge, INT8).layers is not None
    precision_checks.layers(judge, INT8)
    ((target, (files, twin, inputs)),) = [a for a in children.asked if "measure" in a[0]]
    assert target == "poseconform.evaluators.quantized.onnx_qdq:measure"
    assert files == ["simcc_onnxruntime-int8_static/end2end.onnx"]
    assert twin == ["simcc_onnxruntime_static/end2end.onnx"]
    assert inputs.shape == (4, 3, 8, 8)


def test_layers_of_a_model_that_takes_no_figures_run_on_the_judges_images(
    children: Children, tmp_path: Path
) -> None:
    cell = make_cell("rtmo", precision="int8")
    judge = make_judge(children, tmp_path, cell, np.ones((2, 3, 8, 8), np.float32))
    precision_checks.layers(judge, cell)
    assert children.asked[-1][1][2].shape == (2, 3, 8, 8)


def test_layers_of_a_fitted_detector_run_on_figures(children: Children, tmp_path: Path) -> None:
    children.answers["prepared"] = lambda *args: np.ones((len(args[-1]), 3, 8, 8), np.float32)
    cell = make_cell("rtmo", precision="int8")
    cell = replace(cell, model=replace(cell.model, weights="fitted"))
    precision_checks.layers(make_judge(children, tmp_path, cell), cell)
    assert children.asked[-1][1][2].shape == (4, 3, 8, 8)


def test_another_folder_is_measured_anew(judge: Judge, children: Children) -> None:
    precision_checks.layers(judge, INT8)
    other = judge.with_conversion(INT8, Conversion(Path("other"), {}, {}, {}, ""))
    precision_checks.layers(other, INT8)
    assert [a[1][0] for a in children.asked if "measure" in a[0]][1] == ["other/end2end.onnx"]


@pytest.mark.parametrize("check", ["layers", "accuracy"])
@pytest.mark.parametrize("error", [ChildFailure("bad"), ChildCrash("SIGSEGV in x")])
def test_a_child_that_fails_fails_the_stage_once(
    check: str, error: ChildFailure, judge: Judge, children: Children
) -> None:
    children.answers |= {"measure": error, "run": error}
    function: Callable[[Judge, Cell], Any] = getattr(precision_checks, check)
    with pytest.raises(StageFailure) as failure:
        function(judge, INT8)
    stage = {"layers": "numeric", "accuracy": "keypoints"}[check]
    assert (failure.value.stage, failure.value.message) == (stage, error.message)
    with pytest.raises(Blocked):
        function(judge, INT8)


def test_checks_have_nothing_to_say_where_they_do_not_apply(judge: Judge) -> None:
    fp32, foreign = make_cell(), make_cell(precision="int8", backend="tensorrt")
    assert precision_checks.layers(judge, fp32) == precision_checks.Verdict()
    assert precision_checks.layers(judge, foreign) == precision_checks.Verdict()
    assert precision_checks.accuracy(judge, fp32) == precision_checks.Verdict()


def test_accuracy_runs_every_figure_alone(judge: Judge, children: Children) -> None:
    verdict = precision_checks.accuracy(judge, INT8)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert (verdict.accuracy.figures, verdict.accuracy.points_lost) == (4, 0.0)
    assert sum(target.endswith(":run") for target, _ in children.asked) == 4


def test_the_reference_is_computed_once_for_all_flows(judge: Judge, children: Children) -> None:
    precision_checks.accuracy(judge, INT8)
    precision_checks.accuracy(judge, make_cell(precision="fp16"))
    assert sum("write_accuracy" in target for target, _ in children.asked) == 1
    assert len(judge.figures(FIGURES)) == 4


def test_a_bottom_up_model_is_refused_with_a_code(judge: Judge) -> None:
    verdict = precision_checks.accuracy(judge, make_cell("rtmo", precision="int8"))
    assert verdict.accuracy is not None
    assert verdict.accuracy.code == "weights-not-fitted"


def test_a_flow_that_nobody_has_measured_is_an_error(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_checks, "accuracy_limit_for", lambda *_args: None)
    monkeypatch.setattr(precision_checks, "layer_limit_for", lambda *_args: None)
    with pytest.raises(LookupError, match="no limit for keypoints of RTMPose on onnxruntime int8"):
        precision_checks.accuracy(judge, INT8)
    with pytest.raises(
        LookupError, match="no limit for quantized layers of RTMPose on onnxruntime"
    ):
        precision_checks.layers(judge, INT8)
