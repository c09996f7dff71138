"""The adapter of the toolchain: a cell is converted through the cache, an export is shared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.tiny_models import TinyModel
from poseconform.subject import posedeploy_subject as implementations
from poseconform.subject.posedeploy_subject import Request
from posedeploy.apis import exporting
from posedeploy.errors import BadInputError

STATIC = "pose-detection_simcc_onnxruntime_static"


@pytest.fixture
def request_for(tiny_model: Callable[[str], TinyModel], tmp_path: Path) -> Request:
    tiny = tiny_model("rtmpose_t")
    paths = (str(tiny.config), str(tiny.checkpoint), STATIC)
    return Request(*paths, exporter="", cache_root=str(tmp_path), toolchain="toolchain-1")


def test_a_cell_is_converted_once_and_found_again(
    request_for: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[str] = []
    export = exporting.export_model

    def counted(*args: Any, **kwargs: Any) -> Any:
        exports.append("x")
        return export(*args, **kwargs)

    monkeypatch.setattr(exporting, "export_model", counted)
    first = implementations.convert(request_for)
    again = implementations.convert(request_for)
    assert (first["export"]["made"], first["convert"]["made"]) == (True, True)
    assert (again["export"]["made"], again["convert"]["made"]) == (False, False)
    assert again["folder"] == first["folder"]
    assert {"sdk/deploy.json", "sdk/end2end.onnx"} <= set(first["files"])
    assert (Path(first["folder"]) / "pipeline.json").is_file()
    assert first["export"]["exporter"] == "torchscript"
    assert exports == ["x"]
    other = implementations.convert(replace(request_for, toolchain="toolchain-2"))
    assert (other["export"]["made"], len(exports)) == (True, 2)


def test_a_deploy_config_for_another_head_is_refused(request_for: Request) -> None:
    wrong = replace(request_for, deploy_config="pose-detection_onnxruntime_static")
    with pytest.raises(BadInputError, match="a deploy config for simcc models"):
        implementations.convert(wrong)


def test_the_toolchain_is_known_by_its_source_and_packages() -> None:
    assert implementations.toolchain_key() == implementations.toolchain_key()
    assert implementations.toolchain_key().startswith("toolchain-")


def test_only_installed_packages_have_a_version() -> None:
    assert set(implementations.versions(["numpy", "no-such-package"])) == {"numpy"}


def test_weights_are_asked_of_the_toolchain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "posedeploy.apis.sources.resolve_checkpoint",
        lambda name, checkpoint, seed: Path(f"{name}-{checkpoint}-{seed}.pth"),
    )
    assert implementations.checkpoint_for("rtmpose_t") == "rtmpose_t-calibrated-0.pth"
    assert implementations.checkpoint_for("rtmpose_t", "fitted", 3) == "rtmpose_t-fitted-3.pth"
