"""What the judge measures on labeled images in its children, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fixtures.builders import make_cell, make_flow, make_model
from fixtures.fake_subject import FakeSubject
from poseconform.checks.accuracy import accuracy
from poseconform.checks.declaration import Check
from poseconform.checks.layers import layers
from poseconform.checks.table import applicable
from poseconform.datasets.labeled import LabeledImage
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.isolation.child import ChildCrash, ChildFailure
from poseconform.judge.judge import Judge
from poseconform.judge.measuring import FIGURES, float_cell
from poseconform.judge.runs import Ran
from poseconform.judge.stages import Blocked, StageFailure
from poseconform.matrix.cells import Cell
from poseconform.reference.values import FIGURES_FILE, ROUNDING_FILE
from poseconform.subject.environment import Availabilities
from poseconform.subject.protocol import Conversion
from posedeploy.runtime.processes import Limit
from posedeploy.runtime.quantized.noise import LayerNoise, Quantized

FLOWS = tuple(
    make_flow(head, precision=precision)
    for head in ("rtmo", "simcc")
    for precision in ("fp16", "fp32", "int8")
)
SUBJECT = FakeSubject(known_flows=FLOWS)
TRUTH = np.random.default_rng(2).uniform(20, 180, (4, 17, 2))
QUIET = Quantized((LayerNoise("l", "Conv", 40.0),), 1)
FIGURE = LabeledImage(
    1, np.zeros((4, 4, 3), np.uint8), np.ones((1, 4), np.float32), np.zeros((1, 17, 3))
)


def cell_of(label: str, **fields: Any) -> Cell:
    (flow,) = (flow for flow in FLOWS if flow.label == label)
    return Cell(make_model(flow.head, **fields), flow)


INT8, HALF = cell_of("simcc_onnxruntime-int8_static"), cell_of("simcc_onnxruntime-fp16_static")
RTMO = "rtmo_onnxruntime-int8_static"


def ones(count: int) -> NDArray[np.float32]:
    return np.ones((count, 3, 8, 8), np.float32)


class Children:
    """Answers instead of children; what is an exception is raised."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.answers: dict[str, Any] = {
            "measure": QUIET,
            "load": None,
            "run": Ran({"simcc_x": np.zeros((1, 17, 8))}, 0.1),
            "decode": TRUTH,
            "figure_inputs": lambda _model, _path, figures: ones(len(figures)),
            "write_figures": self.write_figures,
            "write_rounding": self.write_rounding,
        }

    def write_rounding(self, *args: Any) -> dict[str, object]:
        np.savez(Path(args[-1]) / ROUNDING_FILE, keypoints=TRUTH, reach=np.zeros((4, 17)))
        return {"figures": 4}

    def write_figures(self, *args: Any) -> dict[str, object]:
        inputs, sizes = np.zeros((4, 3, 8, 8), np.float32), np.full((4, 2), 100.0)
        np.savez(
            Path(args[-1]) / FIGURES_FILE,
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

    def close(self) -> None:
        return None

    def call(self, target: str, *args: Any, timeout: Limit) -> Any:
        name = target.rpartition(":")[2]
        self.calls.append((target, args))
        assert timeout.cpu > 0
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer


@dataclass
class JudgeOfChildren(Judge):
    """A judge whose conversions are names, and whose children answer from a table."""

    children: Children = field(default_factory=Children)

    def child(self, _name: str, _cell: Cell | None = None) -> Any:
        return self.children

    def in_torch(self, target: str, *args: Any, timeout: Limit | None = None) -> Any:
        return self.children.call(target, *args, timeout=timeout or Limit(1.0))

    def reference_parts(self, *_args: Any) -> dict[str, object]:
        return {"some": "parts"}

    def checkpoint(self, _model: Any) -> str:
        return "m.pth"

    def execution(self, _cell: Cell) -> Any:
        return SimpleNamespace(loaded=SimpleNamespace(outputs=()))

    def convert(self, cell: Cell) -> Conversion:
        return Conversion(Path(cell.flow.label), {}, {}, {}, "")

    def reference(self, _model: Any, _precision: str) -> Any:
        return SimpleNamespace(inputs=ones(2))


@pytest.fixture
def judge(tmp_path: Path) -> JudgeOfChildren:
    return JudgeOfChildren(
        ArtifactCache(tmp_path / "cache"), [], Availabilities(SUBJECT), tmp_path,
        figures=lambda count: [FIGURE] * min(count, 4),
    )  # fmt: skip


def test_the_float_cell_is_the_same_flow_in_fp32_with_the_same_weights() -> None:
    cell = cell_of("simcc_onnxruntime-int8_static", weights="fitted")
    exact = float_cell(cell, FLOWS)
    assert (exact.flow.precision, exact.flow.backend) == ("fp32", "onnxruntime")
    assert exact.model == cell.model


def test_a_flow_without_a_float_flow_fails_and_names_it() -> None:
    with pytest.raises(StageFailure, match=r"no fp32 flow to compare .*int8"):
        float_cell(INT8, [INT8.flow])


def test_layers_are_measured_once_on_the_files_of_both(judge: JudgeOfChildren) -> None:
    assert layers(judge, INT8).layers is not None
    layers(judge, INT8)
    ((target, (files, exact, inputs)),) = [a for a in judge.children.calls if "measure" in a[0]]
    assert target == "posedeploy.runtime.quantized.onnx_qdq:measure"
    assert files == ["simcc_onnxruntime-int8_static/end2end.onnx"]
    assert exact == ["simcc_onnxruntime_static/end2end.onnx"]
    assert inputs.shape == (4, 3, 8, 8)


def test_layers_of_a_model_that_takes_no_figures_run_on_the_judges_images(
    judge: JudgeOfChildren,
) -> None:
    layers(judge, cell_of(RTMO))
    assert judge.children.calls[-1][1][2].shape == (2, 3, 8, 8)


def test_layers_of_a_fitted_detector_run_on_figures(judge: JudgeOfChildren) -> None:
    layers(judge, cell_of(RTMO, weights="fitted"))
    assert judge.children.calls[-1][1][2].shape == (4, 3, 8, 8)


def test_another_folder_is_measured_anew(judge: JudgeOfChildren) -> None:
    layers(judge, INT8)
    other = judge.with_conversion(INT8, Conversion(Path("other"), {}, {}, {}, ""))
    layers(other, INT8)
    assert [a[1][0] for a in judge.children.calls if "measure" in a[0]][1] == [
        "other/end2end.onnx"
    ]


@pytest.mark.parametrize("check", [layers, accuracy], ids=lambda check: check.name)
@pytest.mark.parametrize("error", [ChildFailure("bad"), ChildCrash("SIGSEGV in x")])
def test_a_child_that_fails_fails_the_stage_once(
    check: Check, error: ChildFailure, judge: JudgeOfChildren
) -> None:
    judge.children.answers |= {"measure": error, "run": error}
    with pytest.raises(StageFailure) as failure:
        check(judge, INT8)
    assert (failure.value.stage, failure.value.message) == (check.stage, error.message)
    with pytest.raises(Blocked):
        check(judge, INT8)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, set()),
        ({"precision": "fp16"}, {"accuracy"}),
        ({"precision": "int8", "backend": "tensorrt"}, {"accuracy"}),
        ({"precision": "int8"}, {"accuracy", "layers"}),
        ({"precision": "int8", "head": "rtmo"}, {"layers"}),
    ],
)
def test_where_they_apply(fields: dict[str, str], expected: set[str]) -> None:
    names = {check.name for check in applicable(make_cell(**fields), "cpu")}
    assert names & {"accuracy", "layers"} == expected


def test_accuracy_runs_every_figure_alone(judge: JudgeOfChildren) -> None:
    verdict = accuracy(judge, INT8)
    assert verdict.failures == ()
    assert verdict.accuracy is not None
    assert (verdict.accuracy.figures, verdict.accuracy.points_lost) == (4, 0.0)
    assert sum(target.endswith(":run") for target, _ in judge.children.calls) == 4


def test_the_reference_is_computed_once_for_all_flows(judge: JudgeOfChildren) -> None:
    accuracy(judge, INT8)
    accuracy(judge, HALF)
    accuracy(judge, HALF)
    targets = [target.rpartition(":")[2] for target, _ in judge.children.calls]
    assert (targets.count("write_figures"), targets.count("write_rounding")) == (1, 1)
    assert len(judge.figures(FIGURES)) == 4


def test_a_run_without_figures_is_refused_with_a_code(judge: JudgeOfChildren) -> None:
    verdict = accuracy(replace(judge, figures=lambda _count: ()), INT8)
    assert verdict.refusal == "no-figures: this run has no labeled figures"
    assert verdict.accuracy is not None
    assert verdict.accuracy.code == "no-figures"


def test_a_flow_that_nobody_has_measured_is_an_error(judge: JudgeOfChildren) -> None:
    cell = replace(INT8, flow=replace(INT8.flow, precision="fp8"))
    with pytest.raises(LookupError, match="no limit for the accuracy of RTMPose fp8"):
        accuracy(judge, cell)
