"""The default subject: a cell is converted through the cache, an export is shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.builders import make_model
from fixtures.tiny_models import TinyModel
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell
from poseconform.subject.posedeploy_subject import PosedeploySubject, toolchain_key
from posedeploy.errors import BadInputError

STATIC = "pose-detection_simcc_onnxruntime_static"
SUBJECT = PosedeploySubject()


@pytest.fixture
def tiny_cell(tiny_model: Callable[[str], TinyModel]) -> Cell:
    tiny = tiny_model("rtmpose_t")
    model = SUBJECT.model_from_config(str(tiny.config), str(tiny.checkpoint))
    (flow,) = (flow for flow in SUBJECT.flows() if flow.deploy_config == STATIC)
    return Cell(model, flow)


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
    asked: list[tuple[str, str, int]] = []

    def resolve(source: str, kind: str, seed: int) -> Path:
        asked.append((source, kind, seed))
        return Path(f"{source}-{kind}.pth")

    subject = PosedeploySubject(resolve)
    listed = make_model(name="rtmpose_t", weights="fitted", seed=3)
    assert subject.checkpoint_for(listed) == "rtmpose_t-fitted.pth"
    subject.checkpoint_for(make_model(name="mine", tiers=(), config="mine.py"))
    assert asked == [("rtmpose_t", "fitted", 3), ("mine.py", "calibrated", 0)]
