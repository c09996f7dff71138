"""The checks of the suites: each passes on good evidence and fails on what it is there for."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as fields_of
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest

from fixtures.builders import (
    as_outputs,
    make_cell,
    make_execution,
    make_people,
    make_reference,
    make_truth,
)
from poseconform.checks.declaration import Verdict
from poseconform.checks.table import CHECKS, VERDICT_SUITES, applicable
from poseconform.judge.judge import Judge
from poseconform.judge.runs import Execution
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell
from poseconform.reference.values import Reference, RefError, Sample
from poseconform.results.outcome import STAGES
from poseconform.results.records import CellRecord
from poseconform.subject.clients import ClientAnswer
from poseconform.subject.protocol import Conversion
from posedeploy.runtime import TensorInfo

RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(3, 5, 96)), RNG.normal(size=(3, 5, 128))
POINTS = RNG.uniform(0, 60, (3, 5, 2))


@dataclass
class Evidence:
    """Stands for the judge: what it would have found out."""

    folder: Path
    ran: Execution
    truth: Reference
    decoded: np.ndarray
    answers: list[ClientAnswer]
    samples: tuple[Sample, ...] = ()
    subject: Any = field(default_factory=lambda: SimpleNamespace(house_rules=True))

    def conversion(self, _cell: Cell) -> Conversion:
        files = {path.name: ("0" * 64, path.stat().st_size) for path in self.folder.iterdir()}
        step = {"seconds": 1.0, "made": True}
        return Conversion(self.folder, files, step, step, "0" * 64)

    def execution(self, _cell: Cell) -> Execution:
        return self.ran

    def reference(self, _model: object, _precision: str) -> Reference:
        return self.truth

    def keypoints(self, _model: object, _outputs: object) -> np.ndarray:
        return self.decoded

    def client_answers(self, _cell: Cell, count: int) -> list[ClientAnswer]:
        return self.answers[:count]

    def edit(self, name: str, change: Callable[[Any], None]) -> None:
        path = self.folder / name
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))


def write_folder(folder: Path, step: Mapping[str, Any]) -> None:
    model = {
        "name": "m", "net": "end2end.onnx", "weights": "", "backend": "onnxruntime",
        "precision": "FP32", "dynamic_shape": False,
    }  # fmt: skip
    tasks = [
        {"name": "Preprocess", "module": "Transform", "transforms": [{"type": "Load"}, step]},
        {"name": "m", "module": "Net", "input_map": {"img": "input"}},
        {"name": "postprocess", "module": "mmpose", "params": {"keep_top_k": 3}},
    ]
    (folder / "detail.json").write_text("{}")
    (folder / "deploy.json").write_text(json.dumps({"models": [model]}))
    (folder / "pipeline.json").write_text(json.dumps({"pipeline": {"tasks": tasks}}))
    save_graph(folder / "end2end.onnx")


def save_graph(path: Path, opset: int = 17, ir: int = 8, **changes: Any) -> None:
    """One operator, `output = op(input)`; its parts can be changed."""
    known: dict[str, Any] = {"op": "Relu", "domain": "", "batch": 1, "side": 64, "folded": 0}
    found = known | changes
    batch, rest = found["batch"], [3, found["side"], 48]
    node = onnx.helper.make_node(found["op"], ["input"], ["output"], domain=found["domain"])
    ends = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [n, *rest])]
        for name, n in (("input", batch), ("output", found["folded"] or batch))
    ]
    opsets = [onnx.helper.make_opsetid(domain, 1) for domain in [found["domain"]] if domain]
    opsets.append(onnx.helper.make_opsetid("", opset))
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", *ends), ir_version=ir, opset_imports=opsets
    )
    onnx.save(model, path)


def with_shapes(ran: Execution, **changes: Any) -> Execution:
    """The same run, with declared inputs or outputs replaced."""
    return replace(ran, loaded=replace(ran.loaded, **changes))


@pytest.fixture
def top_down(tmp_path: Path) -> Evidence:
    write_folder(tmp_path, {"type": "TopDownAffine", "image_size": [48, 64]})
    truth = make_reference(
        {"simcc_x": X, "simcc_y": Y}, keypoints=POINTS, image_keypoints=tuple(POINTS[:, None])
    )
    answers = [ClientAnswer(points[None], np.ones(1)) for points in POINTS]
    return Evidence(tmp_path, make_execution({"simcc_x": X, "simcc_y": Y}), truth, POINTS, answers)


@pytest.fixture
def bottom_up(tmp_path: Path) -> Evidence:
    write_folder(tmp_path, {"type": "BottomupResize", "input_size": [48, 64]})
    images = [make_people([0.9, 0.8, 0.6]), make_people([0.7, 0.5]), make_people([0.95])]
    truth = make_reference(
        truths=[make_truth(people) for people in images],
        ref_error=RefError(1e-2, 1e-2, 200.0, 100.0),
        image_keypoints=tuple(people.keypoints for people in images),
        image_scores=tuple(people.scores for people in images),
    )
    answers = [
        ClientAnswer(people.keypoints.astype(np.float64), people.scores.astype(np.float64))
        for people in images
    ]
    ran = make_execution(as_outputs(images, 4))
    return Evidence(tmp_path, ran, truth, POINTS, answers)


SIMCC, RTMO = make_cell(), make_cell("rtmo")


def failures(evidence: Evidence, which: Cell, name: str) -> str:
    return "; ".join(CHECKS[name](cast("Judge", evidence), which).failures)


@pytest.mark.parametrize("name", [check.name for check in applicable(SIMCC, "cpu")])
def test_a_good_top_down_model_passes(top_down: Evidence, name: str) -> None:
    assert failures(top_down, SIMCC, name) == ""


@pytest.mark.parametrize("name", [check.name for check in applicable(RTMO, "cpu")])
def test_a_good_bottom_up_model_passes(bottom_up: Evidence, name: str) -> None:
    assert failures(bottom_up, RTMO, name) == ""


def test_a_constant_output_is_named(top_down: Evidence) -> None:
    top_down.ran = make_execution({"simcc_x": np.zeros_like(X), "simcc_y": Y})
    assert failures(top_down, SIMCC, "finite") == "simcc_x: constant (0)"


def test_a_backend_without_outputs_has_not_run(top_down: Evidence) -> None:
    good = top_down.ran
    batches = (replace(good.batches[0], outputs={}), *good.batches[1:])
    top_down.ran = replace(good, batches=batches)
    assert failures(top_down, SIMCC, "runs") == (
        "batches without outputs: found [(0,)]; expected []"
    )


def test_another_precision_than_the_claimed_one_is_named(top_down: Evidence) -> None:
    top_down.ran = with_shapes(top_down.ran, effective_options={"inference_precision": "bf16"})
    found = failures(top_down, SIMCC, "precision")
    assert found == "inference precision in force: found bf16; expected fp32"
    top_down.ran = with_shapes(top_down.ran, effective_options={"inference_precision": "f32"})
    assert failures(top_down, SIMCC, "precision") == ""
    bf16 = replace(SIMCC, flow=replace(SIMCC.flow, precision="bf16"))
    found = failures(top_down, bf16, "precision")
    assert found == "inference precision in force: found f32; expected bf16"
    top_down.ran = with_shapes(top_down.ran, effective_options={"inference_precision": "bf16"})
    assert failures(top_down, bf16, "precision") == ""


GRAPHS: dict[str, tuple[dict[str, Any], str, str]] = {
    "opset": ({"opset": 21}, "graph", "opset 21; mmdeploy-runtime 1.3.1 reads at most 18"),
    "old": ({"opset": 11}, "graph", "opset 11; this project's exporters write [17, 18]"),
    "ir": ({"ir": 10}, "graph", "IR version 10; mmdeploy-runtime 1.3.1 reads at most 9"),
    "domain": ({"op": "Gelu", "domain": "com.microsoft"}, "graph", "other domains: com.microsoft"),
    "idle": ({"op": "Identity"}, "graph", "operators that do nothing: Identity"),
    "unknown": ({"op": "Nonsense"}, "graph", "ONNX's checker refuses it"),
    "batch": ({"batch": 2}, "batch_dimension", "first dimension of input: found (2,)"),
    "folded": ({"folded": 2}, "batch_dimension", "first dimension of output: found (2,)"),
    "free": ({"side": "height"}, "batch_dimension", "other dynamic dimensions of output"),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_a_graph_that_others_cannot_read_fails(top_down: Evidence, case: str) -> None:
    changes, check, named = GRAPHS[case]
    save_graph(top_down.folder / "end2end.onnx", **changes)
    assert named in failures(top_down, SIMCC, check)


# Of `GRAPHS`, what is wrong whoever made the graph
WRONG = {"unknown", "folded"}


@pytest.mark.parametrize("case", GRAPHS)
def test_rules_of_ours_are_notes_for_others_and_what_is_wrong_fails(
    top_down: Evidence, case: str
) -> None:
    changes, check, named = GRAPHS[case]
    save_graph(top_down.folder / "end2end.onnx", **changes)
    top_down.subject = SimpleNamespace()
    verdict = CHECKS[check](cast("Judge", top_down), SIMCC)
    found = "; ".join(verdict.failures if case in WRONG else verdict.notes)
    assert named in found
    assert bool(verdict.failures) == (case in WRONG)


def noted(evidence: Evidence, which: Cell, name: str) -> tuple[str, str]:
    """Failures and notes of a check on what another subject has made."""
    evidence.subject = SimpleNamespace(house_rules=False)
    verdict = CHECKS[name](cast("Judge", evidence), which)
    return "; ".join(verdict.failures), "; ".join(verdict.notes)


def test_names_and_sizes_that_others_leave_open_are_notes(top_down: Evidence) -> None:
    good = make_execution({"simcc_y": Y, "simcc_x": X})
    open_ended = (TensorInfo("data", (1, 3, "height", "?"), "float32"),)
    unnamed = tuple(replace(info, shape=(1, 5, "?")) for info in good.loaded.outputs)
    top_down.ran = with_shapes(good, inputs=open_ended, outputs=unnamed)
    failed, told = noted(top_down, SIMCC, "names_and_shapes")
    assert failed == ""
    for what in (
        "input names: found ['data']",
        "output names: found ('simcc_y'",
        "input shape: found (3, 'height', '?')",
        "shape of simcc_y: found {(5, 128)}",
    ):
        assert what in told


@pytest.mark.parametrize(
    ("outputs", "inputs", "named"),
    [
        ({"simcc_x": X, "other": Y}, (1, 3, 64, 48), "output names"),
        ({"simcc_x": X, "simcc_y": Y}, (1, 64, 48, 3), "input shape: found (64, 48, 3)"),
        ({"simcc_x": X, "simcc_y": Y}, ("N", 3, 64, 48), "dynamic batch"),
    ],
)
def test_what_makes_a_result_wrong_fails_for_others_too(
    top_down: Evidence, outputs: Any, inputs: tuple[int | str, ...], named: str
) -> None:
    info = (TensorInfo("input", inputs, "float32"),)
    top_down.ran = with_shapes(make_execution(outputs), inputs=info)
    assert noted(top_down, SIMCC, "names_and_shapes")[0].startswith(named)


def test_rows_of_others_are_their_own(bottom_up: Evidence) -> None:
    promised = replace(RTMO, flow=replace(RTMO.flow, max_detections=50))
    assert noted(bottom_up, promised, "names_and_shapes") == (
        "", "rows of dets: found 4; expected 50"
    )  # fmt: skip
    outputs = copy.deepcopy({n: bottom_up.ran.rows(n)[0] for n in ("dets", "keypoints")})
    outputs["dets"][2, 3, 0] = 5.0
    bottom_up.ran = make_execution(outputs)
    assert noted(bottom_up, RTMO, "padding") == ("", "image 2: a padding row is not zero")


def test_files_of_a_folder_that_was_brought(top_down: Evidence) -> None:
    brought = replace(
        SIMCC, flow=replace(SIMCC.flow, folder="/f", files=("end2end.onnx", "w.bin"))
    )
    assert noted(top_down, brought, "files") == ("missing files: found ['w.bin']; expected []", "")
    whole = replace(brought, flow=replace(brought.flow, files=("end2end.onnx",)))
    (top_down.folder / "detail.json").unlink()
    assert (
        noted(top_down, whole, "files")[1] == "missing files: found ['detail.json']; expected []"
    )
    assert noted(top_down, whole, "deploy_json") == ("", "")
    top_down.edit("deploy.json", lambda data: data["models"][0].update(precision="FP16"))
    assert noted(top_down, whole, "deploy_json")[1].startswith(
        "deploy.json: precision: found FP16"
    )
    names = {check.name for check in applicable(whole, "cpu")}
    assert ("files" in names, "converts" in names) == (True, False)


def test_of_an_int8_folder_the_outputs_alone_are_measured(top_down: Evidence) -> None:
    """Its float32 file, which has the inputs of each layer, is not there."""
    brought = make_cell(precision="int8", folder="/f")
    assert failures(top_down, brought, "layers") == ""
    coarse: dict[str, Any] = {"simcc_x": np.round(np.repeat(X, 9, axis=-1)), "simcc_y": Y}
    top_down.ran = make_execution(coarse)
    assert failures(top_down, brought, "layers").startswith("simcc_x takes ")


def test_a_pipeline_without_a_resizing_step_is_named(top_down: Evidence) -> None:
    def drop(data: Any) -> None:
        del data["pipeline"]["tasks"][0]["transforms"][1]

    top_down.edit("pipeline.json", drop)
    found = failures(top_down, SIMCC, "pre_processing_shape")
    assert found == "resizing step: found ['Load']; expected TopDownAffine among them"


@pytest.mark.parametrize(
    ("name", "module"), [("deploy_json", "Net"), ("pre_processing_shape", "Transform")]
)
def test_a_pipeline_without_a_task_is_named(top_down: Evidence, name: str, module: str) -> None:
    def rename(data: Any) -> None:
        for task in data["pipeline"]["tasks"]:
            task["module"] = "other"

    top_down.edit("pipeline.json", rename)
    with pytest.raises(StageFailure, match=f"found tasks of .*; expected one of {module}"):
        failures(top_down, SIMCC, name)


# A cell -> the checks that apply to it, besides those that apply to every cell
APPLY: dict[tuple[tuple[str, object], ...], set[str]] = {
    (("backend", "ncnn"), ("head", "rtmo"), ("host_suppression", True)): {"precision"},
    (("backend", "ncnn"),): {"precision"},
    (("backend", "ncnn"), ("precision", "fp16")): {"accuracy"},
    (("backend", "ncnn"), ("precision", "int8")): {"accuracy", "layers"},
    (("backend", "onnxruntime"),): {"batch_dimension", "graph"},
    (("backend", "onnxruntime"), ("shape_mode", "dynamic")): {
        "batch_dimension", "batches", "graph",
    },
    (("backend", "openvino"), ("head", "rtmo")): {"padding", "precision"},
    (("backend", "tensorrt"), ("precision", "int8")): {"accuracy"},
    (("backend", "torchscript"),): set(),
}  # fmt: skip
EVERYWHERE = {
    "client", "converts", "deploy_json", "finite", "keypoints", "names_and_shapes",
    "pre_processing_shape", "runs", "tensors",
}  # fmt: skip


@pytest.mark.parametrize("fields", APPLY, ids=str)
def test_a_check_that_cannot_fail_does_not_apply(fields: tuple[tuple[str, object], ...]) -> None:
    options: dict[str, Any] = dict(fields)
    names = {check.name for check in applicable(make_cell(**options), "cpu")}
    assert names == EVERYWHERE | APPLY[fields]


def test_placement_applies_on_a_device() -> None:
    assert "placement" in {check.name for check in applicable(SIMCC, "cuda:0")}
    ncnn = make_cell(backend="ncnn")
    assert "placement" not in {check.name for check in applicable(ncnn, "cuda:0")}


def test_checks_run_by_stage_and_each_suite_has_some() -> None:
    stages = [STAGES.index(check.stage) for check in CHECKS.values()]
    assert stages == sorted(stages)
    assert {check.suite for check in CHECKS.values()} == {*VERDICT_SUITES, "accuracy"}
    assert [check.name for check in applicable(SIMCC, "cpu", ("accuracy",))] == ["dataset"]


def test_a_verdict_names_the_fields_of_the_record() -> None:
    verdict = Verdict(("off",), refusal="x: y", headroom=0.5, batches=(1, 2))
    assert verdict.measured() == {"headroom": 0.5, "batches": (1, 2)}
    assert {f.name for f in fields_of(Verdict)} <= {f.name for f in fields_of(CellRecord)} | {
        "failures", "refusal",
    }  # fmt: skip


def test_wrong_names_are_named(top_down: Evidence) -> None:
    top_down.ran = make_execution({"simcc_y": Y, "simcc_x": X})
    assert failures(top_down, SIMCC, "names_and_shapes").startswith("output names: found (")
    declared = TensorInfo("data", (1, 3, 64, 48), "float32")
    top_down.ran = with_shapes(make_execution({"simcc_x": X, "simcc_y": Y}), inputs=(declared,))
    found = failures(top_down, SIMCC, "names_and_shapes")
    assert found == "input names: found ['data']; expected ['input']"


def test_wrong_shapes_are_named(top_down: Evidence) -> None:
    good = top_down.ran
    turned = TensorInfo("input", (1, 3, 48, 64), "float32")
    top_down.ran = with_shapes(good, inputs=(turned,))
    assert failures(top_down, SIMCC, "names_and_shapes").startswith("input shape: found (3, 48")
    free = TensorInfo("input", ("batch", 3, 64, 48), "float32")
    top_down.ran = with_shapes(good, inputs=(free,))
    assert failures(top_down, SIMCC, "names_and_shapes") == (
        "dynamic batch: found True; expected False"
    )
    lying = (TensorInfo("simcc_x", (1, 5, 97), "float64"), good.loaded.outputs[1])
    top_down.ran = with_shapes(good, outputs=lying)
    assert failures(top_down, SIMCC, "names_and_shapes").startswith("shape of simcc_x: found {(5")


def test_a_shape_that_is_known_after_a_run_only_is_judged_by_the_numbers(
    top_down: Evidence,
) -> None:
    good = top_down.ran
    unknown = tuple(replace(info, shape=()) for info in good.loaded.outputs)
    top_down.ran = with_shapes(good, outputs=unknown)
    assert failures(top_down, SIMCC, "names_and_shapes") == ""
    assert failures(top_down, SIMCC, "tensors") == ""
    top_down.ran = with_shapes(
        make_execution({"simcc_x": X[..., :-1], "simcc_y": Y}), outputs=unknown
    )
    assert failures(top_down, SIMCC, "names_and_shapes") == ""
    assert "simcc_x: shape [5, 95] per image; expected [5, 96]" in failures(
        top_down, SIMCC, "tensors"
    )


def test_too_few_rows_of_detections_are_named(bottom_up: Evidence) -> None:
    promised = replace(RTMO, flow=replace(RTMO.flow, max_detections=50))
    found = failures(bottom_up, promised, "names_and_shapes")
    assert found == "rows of dets: found 4; expected 50"
    own = replace(promised, model=replace(RTMO.model, max_detections=4))
    assert failures(bottom_up, own, "names_and_shapes") == ""
    dense = {name: RNG.normal(size=(3, 9, 4)) for name in ("scores", "boxes", "keypoints")}
    bottom_up.ran = make_execution(dense)
    assert failures(bottom_up, promised, "names_and_shapes") == ""


def test_a_batch_that_comes_back_smaller_is_named(top_down: Evidence) -> None:
    good = make_execution({"simcc_x": X, "simcc_y": Y}, plan=[(0,), (1, 2)])
    first = {name: array[:1] for name, array in good.batches[1].outputs.items()}
    short = replace(good.batches[1], outputs=first)
    top_down.ran = replace(good, batches=(good.batches[0], short))
    found = failures(top_down, SIMCC, "names_and_shapes")
    assert "batch of simcc_x: found [1, 1]; expected [1, 2]" in found


def test_a_graph_that_ends_before_suppression_may_name_its_own_outputs(
    bottom_up: Evidence,
) -> None:
    arrays = {name: RNG.normal(size=(3, 9, 4)) for name in ("scores", "boxes", "keypoints")}
    unfinished = make_execution(arrays)
    bottom_up.ran = unfinished
    assert failures(bottom_up, RTMO, "names_and_shapes") == ""
    bottom_up.ran = make_execution({name: arrays[name] for name in ("scores", "boxes")})
    assert failures(bottom_up, RTMO, "names_and_shapes").startswith("output names")
    people = [make_people([0.9, 0.8, 0.6]), make_people([0.7, 0.5]), make_people([0.95])]
    finished = as_outputs(people, 3)
    batches = tuple(
        replace(batch, detections={n: a[i : i + 1] for n, a in finished.items()})
        for i, batch in enumerate(unfinished.batches)
    )
    bottom_up.ran = replace(unfinished, batches=batches)
    for name in ("padding", "tensors", "batches", "keypoints", "client"):
        assert failures(bottom_up, RTMO, name) == "", name


def test_numbers_and_keypoints_that_are_off_fail(top_down: Evidence, bottom_up: Evidence) -> None:
    top_down.ran = make_execution({"simcc_x": X + 0.01, "simcc_y": Y})
    assert "simcc_x: maximum error" in failures(top_down, SIMCC, "tensors")
    top_down.decoded = POINTS + 1
    assert "15 of 15 keypoints moved" in failures(top_down, SIMCC, "keypoints")
    moved = [make_people([0.9, 0.8, 0.6]), make_people([0.7, 0.5]), make_people([0.95])]
    moved[0].keypoints[0, 0, 0] += 1
    bottom_up.ran = make_execution(as_outputs(moved, 4))
    assert "keypoints.xy" in failures(bottom_up, RTMO, "tensors")
    assert "1 px off" in failures(bottom_up, RTMO, "keypoints")


def test_a_result_that_depends_on_its_batch_fails(top_down: Evidence) -> None:
    rows = {"simcc_x": X[[0, 0]].copy(), "simcc_y": Y[[0, 0]]}
    rows["simcc_x"][1] += 0.1
    top_down.ran = make_execution(rows, plan=[(0,), (0,)])
    assert "simcc_x: image 0 differs" in failures(top_down, SIMCC, "batches")


def test_padding_that_is_not_zero_fails(bottom_up: Evidence) -> None:
    outputs = copy.deepcopy({n: bottom_up.ran.rows(n)[0] for n in ("dets", "keypoints")})
    outputs["dets"][2, 3, 0] = 5.0
    bottom_up.ran = make_execution(outputs)
    assert failures(bottom_up, RTMO, "padding") == "image 2: a padding row is not zero"


LIES: dict[str, tuple[str, tuple[Any, ...], Any, str]] = {
    "backend": ("deploy.json", ("models", 0, "backend"), "ncnn", "deploy.json: backend"),
    "precision": ("deploy.json", ("models", 0, "precision"), "FP16", "deploy.json: precision"),
    "dynamic": ("deploy.json", ("models", 0, "dynamic_shape"), True, "deploy.json: dynamic_shape"),
    "file": ("deploy.json", ("models", 0, "net"), "other.onnx", "files that are missing"),
    "weights": ("deploy.json", ("models", 0, "weights"), "x.bin", "files that are missing"),
    "name": ("pipeline.json", ("pipeline", "tasks", 1, "name"), "x", "name of the net"),
    "input": ("pipeline.json", ("pipeline", "tasks", 1, "input_map", "img"), "x", "input_map"),
    "output": (
        "pipeline.json",
        ("pipeline", "tasks", 1, "output_map"),
        {"simcc_x": "x"},
        "output_map",
    ),
    "position": (
        "pipeline.json",
        ("pipeline", "tasks", 1, "output_map"),
        {"simcc_x": "#2"},
        "output_map",
    ),
    "outside": ("deploy.json", ("models", 0, "net"), "../end2end.onnx", "outside the folder"),
    "absolute": ("deploy.json", ("models", 0, "net"), "/end2end.onnx", "outside the folder"),
    "checksum": (
        "detail.json",
        ("posedeploy",),
        {"files": {"end2end.onnx": {"sha256": "0" * 64, "bytes": 0}}},
        "another checksum of: found ['end2end.onnx']",
    ),
    "drive": ("deploy.json", ("models", 0, "net"), "C:\\end2end.onnx", "outside the folder"),
}


@pytest.mark.parametrize("lie", LIES)
def test_json_that_lies_about_the_files_fails(top_down: Evidence, lie: str) -> None:
    name, (*path, last), value, named = LIES[lie]

    def change(data: Any) -> None:
        for key in path:
            data = data[key]
        data[last] = value

    top_down.edit(name, change)
    assert named in failures(top_down, SIMCC, "deploy_json")


def test_json_that_was_edited_is_judged_by_what_it_says(top_down: Evidence) -> None:
    sums = {name: {"sha256": "0" * 64, "bytes": 0} for name in ("deploy.json", "pipeline.json")}
    top_down.edit("detail.json", lambda detail: detail.update(posedeploy={"files": sums}))
    assert not failures(top_down, SIMCC, "deploy_json")


def test_pre_processing_to_another_size_fails(top_down: Evidence) -> None:
    def change(data: Any) -> None:
        data["pipeline"]["tasks"][0]["transforms"][1]["image_size"] = [64, 48]

    top_down.edit("pipeline.json", change)
    assert failures(top_down, SIMCC, "pre_processing_shape") == (
        "size of the resizing step: found (48, 64); expected (64, 48)"
    )


def test_a_client_that_is_off_fails(top_down: Evidence, bottom_up: Evidence) -> None:
    top_down.answers[1] = ClientAnswer(POINTS[1][None] + 3, np.ones(1))
    assert "px off at the 99th percentile" in failures(top_down, SIMCC, "client")
    first = bottom_up.answers[0]
    bottom_up.answers[0] = ClientAnswer(first.keypoints[1:], first.scores[1:])
    assert "1 people of the reference are missing" in failures(bottom_up, RTMO, "client")


def test_the_client_s_first_image_is_drawn(top_down: Evidence) -> None:
    images = [np.zeros((64, 48, 3), np.uint8)] * 3
    samples = tuple(Sample(name, p, (0, 0, 1, 1)) for name, p in zip("abc", images, strict=True))
    judge = cast("Judge", replace(top_down, samples=samples))
    assert [p.name for p in CHECKS["client"](judge, SIMCC).images] == ["a"]
