"""The default subject: a cell is converted through the cache, an export is shared."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.builders import make_model
from fixtures.odd_names import ODD_NAMES, id_of
from fixtures.tiny_models import TinyModel
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell
from poseconform.subject.posedeploy_subject import (
    PosedeploySubject,
    print_stage,
    toolchain_key,
)
from poseconform.subject.protocol import Conversion
from posedeploy.apis.progress import StageEvent
from posedeploy.config import deploy_config_text
from posedeploy.errors import BadInputError

STATIC = "pose-detection_simcc_onnxruntime_static"
SUBJECT = PosedeploySubject()


@pytest.fixture
def tiny_cell(tiny_model: Callable[[str], TinyModel]) -> Cell:
    tiny = tiny_model("rtmpose_t")
    model = SUBJECT.model_from_config(str(tiny.config), str(tiny.checkpoint))
    (flow,) = (flow for flow in SUBJECT.flows() if flow.deploy_config == STATIC)
    return Cell(model, flow)


@pytest.mark.parametrize("name", ODD_NAMES, ids=id_of)
def test_configs_of_any_name_are_read(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"{name}.py"
    shutil.copy(tiny_model("rtmpose_t").config, path)
    model = SUBJECT.model_from_config(str(path))
    assert (model.name, model.family, model.config) == (path.stem, "RTMPose", str(path))
    path.write_text(deploy_config_text(STATIC))
    assert Cell(model, SUBJECT.flows([str(path)])[-1]).flow.backend == "onnxruntime"


def test_a_file_of_the_users_and_a_config_of_ours_are_two_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    listed = {flow.deploy_config for flow in SUBJECT.flows()}
    assert {flow.deploy_config for flow in SUBJECT.flows([f"{STATIC}.py"])} == listed
    Path(f"{STATIC}.py").write_text(deploy_config_text(STATIC))
    assert {f.deploy_config for f in SUBJECT.flows([f"{STATIC}.py"])} - listed == {
        f"./{STATIC}.py"
    }


def test_a_cell_is_converted_once_and_found_again(tiny_cell: Cell, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    first = SUBJECT.convert(tiny_cell, tiny_cell.model.checkpoint, "", cache)
    again = SUBJECT.convert(tiny_cell, tiny_cell.model.checkpoint, "", cache)
    assert (first.export["made"], first.convert["made"]) == (True, True)
    assert (again.export["made"], again.convert["made"]) == (False, False)
    assert again.folder == first.folder
    assert {"deploy.json", "end2end.onnx"} <= set(first.files)
    assert (first.folder / "pipeline.json").is_file()
    assert first.export["exporter"] == "torchscript"
    assert len(first.checkpoint_sha256) == 64


def test_a_changed_toolchain_exports_and_converts_anew(tiny_cell: Cell, tmp_path: Path) -> None:
    cache, checkpoint = ArtifactCache(tmp_path), tiny_cell.model.checkpoint
    events: list[tuple[str, str]] = []

    def convert(key: str) -> Conversion:
        subject = PosedeploySubject(
            toolchain=lambda: key, progress=lambda event: events.append((event.stage, event.state))
        )
        return subject.convert(tiny_cell, checkpoint, "", cache)

    stages = [
        ("export", "started"),
        ("export", "done"),
        ("convert", "started"),
        ("convert", "done"),
    ]
    first = convert("toolchain-1")
    assert events == stages
    convert("toolchain-1")
    assert events == stages, "both are in the cache"
    changed = convert("toolchain-2")
    assert (changed.export["made"], changed.convert["made"]) == (True, True)
    assert changed.folder != first.folder
    assert events == stages * 2


def test_stages_are_in_the_log_of_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    print_stage(StageEvent("export", "started"))
    print_stage(StageEvent("export", "done", 2.04))
    assert (
        capsys.readouterr().out
        == "posedeploy: export started\nposedeploy: export done after 2.0 s\n"
    )


def test_flows_of_one_representation_share_an_export(tiny_cell: Cell, tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path)
    SUBJECT.convert(tiny_cell, tiny_cell.model.checkpoint, "", cache)
    fp16 = STATIC.replace("onnxruntime", "onnxruntime-fp16")
    (flow,) = (flow for flow in SUBJECT.flows() if flow.deploy_config == fp16)
    lower = SUBJECT.convert(replace(tiny_cell, flow=flow), tiny_cell.model.checkpoint, "", cache)
    assert (lower.export["made"], lower.convert["made"]) == (False, True)


@pytest.mark.parametrize(
    ("words", "on_host"), [("onnxruntime", False), ("tensorrt", True), ("tensorrt-nms", False)]
)
def test_a_flow_tells_where_suppression_happens(words: str, on_host: bool) -> None:
    found = [f for f in SUBJECT.flows() if f.label.startswith(f"rtmo_{words}_static")]
    assert {flow.host_suppression for flow in found} == {on_host}


def test_a_deploy_config_for_another_head_is_refused(tiny_cell: Cell, tmp_path: Path) -> None:
    flow = replace(tiny_cell.flow, deploy_config="pose-detection_onnxruntime_static")
    with pytest.raises(BadInputError, match="a deploy config for simcc models"):
        SUBJECT.convert(
            replace(tiny_cell, flow=flow), tiny_cell.model.checkpoint, "", ArtifactCache(tmp_path)
        )


def test_the_toolchain_is_identified_by_its_source_and_packages() -> None:
    assert toolchain_key() == toolchain_key()
    assert toolchain_key().startswith("toolchain-")
    assert SUBJECT.versions()["torch"]


def test_weights_are_made_for_a_name_in_the_zoo_or_for_a_config() -> None:
    calls: list[tuple[str, str, int]] = []

    def resolve(source: str, kind: str, seed: int) -> Path:
        calls.append((source, kind, seed))
        return Path(f"{source}-{kind}.pth")

    subject = PosedeploySubject(resolve)
    listed = make_model(name="rtmpose_t", weights="fitted", seed=3)
    assert subject.checkpoint_for(listed) == "rtmpose_t-fitted.pth"
    subject.checkpoint_for(make_model(name="mine", tiers=(), config="mine.py"))
    assert calls == [("rtmpose_t", "fitted", 3), ("mine.py", "calibrated", 0)]


def test_a_model_of_the_zoo_is_known_by_its_name_alone() -> None:
    subject = PosedeploySubject()
    assert subject.has_model("rtmpose_t")
    assert subject.has_model("td-hm_ViTPose-huge_8xb64-210e_coco-256x192")
    assert not subject.has_model("td-hm_ViTPose-*")
