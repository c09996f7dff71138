"""Composed deploy configs: name and content agree, and none changes unseen."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from posedeploy.config import (
    DeployConfig,
    deploy_config_text,
    list_deploy_configs,
    load_deploy_config,
    parse_name,
)
from posedeploy.config.composing import EXTRAS, STRIDE, compose
from posedeploy.config.listing import file_names
from posedeploy.config.naming import IRREGULAR, OPTIONS, DeployConfigName
from posedeploy.errors import BadInputError
from suites.unit.posedeploy.config.names import deploy_config_names

SNAPSHOTS = Path(__file__).parent / "snapshots"
UPDATE = bool(os.environ.get("POSEDEPLOY_UPDATE_SNAPSHOTS"))
# At least one of each backend, each option and each head kind: to be read.
SHOWN = (
    "pose-detection_coreml-fp16_static-256x192",
    "pose-detection_litert-int8_static-256x192",
    "pose-detection_ncnn-bf16_static-256x192",
    "pose-detection_ncnn-fp16_static-384x288",
    "pose-detection_rtmo_openvino-fp16-f16_static-416x416",
    "pose-detection_rtmo_tensorrt-int8_static-640x640",
    "pose-detection_simcc_onnxruntime-fp16-keypoints_dynamic",
    "pose-detection_simcc_onnxruntime-int8_dynamic",
    "pose-detection_simcc_openvino-bf16_static-256x192",
    "pose-detection_simcc_pplnn-fp16_static-256x192",
    "pose-detection_torchscript_static-256x256",
    "pose-detection_yolox-pose_onnxruntime-fp16_static",
    "pose-detection_yolox-pose_tensorrt-nms_dynamic-416x416",
)
sides = st.integers(1, 64).map(lambda count: count * STRIDE)


def option(config: DeployConfig) -> str:
    """The word of `OPTIONS` whose fields a config has."""
    found = [
        word
        for word, row in OPTIONS.items()
        if row.backend_config.items() <= config.raw["backend_config"].items()
        and row.codebase_config.items() <= config.raw["codebase_config"].items()
    ]
    return found[0] if found else ""


def content_name(config: DeployConfig, shape: tuple[int, int] | None) -> DeployConfigName:
    """The name that a config's content gives."""
    return DeployConfigName(
        config.variant, config.backend, config.precision, config.shape_mode, shape, option(config)
    )


def has_its_shape(name: DeployConfigName) -> bool:
    extras = EXTRAS.get(name.backend)
    static = name.shape is not None or name.shape_mode == "static"
    return static or extras is None or not extras.needs_shape


@given(deploy_config_names(st.tuples(sides, sides)))
def test_a_composed_config_gives_its_name_back(name: DeployConfigName) -> None:
    assume(has_its_shape(name) and str(name) not in file_names())
    config = load_deploy_config(str(name))
    size = config.input_shape
    assert content_name(config, (size[1], size[0]) if size else None) == name


@pytest.mark.parametrize("name", file_names())
def test_a_file_agrees_with_its_name(name: str) -> None:
    config, parts = load_deploy_config(name), parse_name(name)
    assert content_name(config, parts.shape) == parts
    assert name in IRREGULAR or str(parts) == name
    if parts.shape:
        assert config.input_shape == (parts.shape[1], parts.shape[0])


def digest(name: str) -> str:
    """A hash of a config's whole content."""
    content = json.dumps(load_deploy_config(name).raw, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def compare(name: str, text: str) -> None:
    path = SNAPSHOTS / f"{name}.txt"
    if UPDATE:
        path.write_text(text, encoding="utf-8")
        pytest.fail(f"{path.name} is written anew: read it")
    assert text == path.read_text(encoding="utf-8")


def test_no_listed_config_changes_unseen() -> None:
    compare("listed", "".join(f"{digest(name)} {name}\n" for name in list_deploy_configs()))


@pytest.mark.parametrize("name", SHOWN)
def test_composed_text(name: str) -> None:
    compare(name, f"{deploy_config_text(name)}\n")


@pytest.mark.parametrize("name", SHOWN)
def test_the_text_is_a_config(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text(deploy_config_text(name), encoding="utf-8")
    assert load_deploy_config(path).raw == load_deploy_config(name).raw


def test_an_engine_with_a_dynamic_batch_gets_a_profile() -> None:
    parts = DeployConfigName("simcc", "tensorrt", "fp16", "dynamic", (384, 288))
    profile = compose(parts)["backend_config"]["model_inputs"][0]["input_shapes"]["input"]
    assert profile == {
        "min_shape": [1, 3, 384, 288], "opt_shape": [2, 3, 384, 288],
        "max_shape": [4, 3, 384, 288],
    }  # fmt: skip
    static = compose(DeployConfigName("simcc", "tensorrt", "fp16", "static", (384, 288)))
    assert "model_inputs" not in static["backend_config"]
    assert "dynamic_axes" not in static["onnx_config"]


def test_a_composed_config_is_a_copy() -> None:
    name = DeployConfigName("rtmo", "openvino", "fp32", "static", (64, 64))
    changed: Any = compose(name)
    changed["codebase_config"]["post_processing"]["keep_top_k"] = 7
    changed["onnx_config"]["output_names"].append("more")
    again = compose(name)
    assert again["codebase_config"]["post_processing"]["keep_top_k"] == 50
    assert again["onnx_config"]["output_names"] == ["dets", "keypoints"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorrt_dynamic", "Add one, height x width: pose-detection_tensorrt_dynamic-256x192"),
        ("openvino_static-31x64", "found 31.*multiples of 8.*Use 32x64"),
        ("openvino_static-256x190", "found 190.*Use 256x192"),
        ("torchscript-int8_static-64x64", "found precision int8; .*torchscript has: fp32"),
        ("ncnn_dynamic-64x64", "found a dynamic batch"),
    ],
)
def test_a_name_that_cannot_be_composed_is_refused(name: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as caught:
        load_deploy_config(f"pose-detection_{name}")
    assert name in caught.value.subject
