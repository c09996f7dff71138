"""What is written into an SDK model folder follows the model config and the loaded files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.tiny_models import TinyModel
from posedeploy.apis.deploying import deploy
from posedeploy.config import DeployConfig, ModelConfig, load_deploy_config, load_model_config
from posedeploy.runtime import StoredPrecision, TensorInfo
from posedeploy.sdk import writer
from posedeploy.sdk.validate import validate
from posedeploy.zoo.table import config_path, model_row

TOP_DOWN = ("hrnet_w32", "mspn50", "rtmpose_t")
BOTTOM_UP = ("rtmo_t", "yoloxpose_tiny")


def model(name: str, **codec: Any) -> ModelConfig:
    """A zoo model's config, with other codec parameters."""
    found = load_model_config(config_path(model_row(name)))
    return replace(found, codec={**found.codec, **codec}) if codec else found


def deploy_config(config: ModelConfig, backend: str = "onnxruntime") -> DeployConfig:
    variant = config.head_kind.word
    middle = f"_{variant}" if variant else ""
    return load_deploy_config(f"pose-detection{middle}_{backend}_dynamic")


def artifact(config: ModelConfig, batch: int | str = "batch", **fields: Any) -> writer.Artifact:
    width, height = config.input_size
    inputs = (TensorInfo("input", (batch, 3, height, width), "float32"),)
    outputs = (TensorInfo("output", (batch, 17, 64, 48), "float32"),)
    return writer.Artifact(("end2end.onnx",), StoredPrecision("fp32"), inputs, outputs, **fields)


def params(config: ModelConfig) -> dict[str, Any]:
    return writer.postprocess(config)[1]


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ({}, {"post_process": "default"}),
        ({"unbiased": True}, {"post_process": "unbiased", "modulate_kernel": 11}),
        (
            {"unbiased": True, "blur_kernel_size": 17},
            {"post_process": "unbiased", "modulate_kernel": 17},
        ),
        (
            {"type": "UDPHeatmap"},
            {"post_process": "default", "use_udp": True, "modulate_kernel": 11},
        ),
        (
            {"type": "UDPHeatmap", "blur_kernel_size": 15},
            {"post_process": "default", "use_udp": True, "modulate_kernel": 15},
        ),
        (
            {"type": "MegviiHeatmap", "kernel_size": 5},
            {"post_process": "megvii", "modulate_kernel": 5},
        ),
    ],
)
def test_old_clients_get_fields_for_the_codecs_refinement(
    codec: dict[str, Any], expected: dict[str, Any]
) -> None:
    written = params(model("hrnet_w32", **codec))
    fields = ("post_process", "use_udp", "modulate_kernel")
    assert {k: written[k] for k in fields if k in written} == expected


def test_simcc_has_whether_the_graph_decodes_and_no_field_of_heatmaps() -> None:
    written = params(model("rtmpose_t"))
    assert written["export_postprocess"] is False
    assert not {"post_process", "modulate_kernel"} & set(written)


@pytest.mark.parametrize("name", TOP_DOWN)
def test_facts_of_a_top_down_model(name: str) -> None:
    config = model(name)
    facts = writer.model_facts(config, 17)
    assert facts["codec"] == dict(config.codec)
    assert facts["mean"] == [123.675, 116.28, 103.53]
    assert (facts["bgr_to_rgb"], facts["padding"], facts["use_udp"]) == (True, 1.25, False)
    assert (facts["input_size"], facts["num_keypoints"]) == ([192, 256], 17)
    assert "pad_val" not in facts


@pytest.mark.parametrize("name", BOTTOM_UP)
def test_facts_of_a_bottom_up_model_hold_no_codec_but_a_padding_value(name: str) -> None:
    facts = writer.model_facts(model(name), 0)
    assert (facts["pad_val"], facts["input_size"]) == ([114, 114, 114], [416, 416])
    assert facts["bgr_to_rgb"] is False
    assert not {"codec", "padding", "num_keypoints"} & set(facts)


def test_udp_and_a_padding_of_ones_own_are_facts() -> None:
    pipeline = (
        {"type": "LoadImage"},
        {"type": "mmpose.GetBBoxCenterScale", "padding": 1.5},
        {"type": "TopdownAffine", "input_size": (192, 256), "use_udp": True},
    )
    config = replace(model("hrnet_w32"), test_pipeline=pipeline)
    facts = writer.model_facts(config, 17)
    assert (facts["padding"], facts["use_udp"]) == (1.5, True)


def test_the_batch_is_what_the_graph_has() -> None:
    config = model("hrnet_w32")
    for batch, dynamic in ((1, False), ("batch", True)):
        made = artifact(config, batch)
        entry = writer.deploy_json(made, config, "onnxruntime")["models"][0]
        pipeline = writer.pipeline_json(made, config, deploy_config(config))["pipeline"]
        net = next(task for task in pipeline["tasks"] if task["module"] == "Net")
        assert (entry["dynamic_shape"], net["is_batched"]) == (dynamic, dynamic)
        assert net["input_map"] == {"img": "input"}
        assert net["name"] == entry["name"] == "topdownposeestimator"


def test_a_runtime_with_positions_only_gets_positions() -> None:
    config = model("rtmpose_t")
    made = artifact(config, names_are_positions=True)
    pipeline = writer.pipeline_json(made, config, deploy_config(config))["pipeline"]
    net = next(task for task in pipeline["tasks"] if task["module"] == "Net")
    assert net["input_map"] == {"img": "#0"}
    assert net["output_map"] == {"simcc_x": "#0", "simcc_y": "#1"}
    assert net["is_batched"] is False


def test_a_second_backend_file_is_the_weights() -> None:
    config = model("hrnet_w32")
    made = replace(artifact(config), files=("end2end.xml", "end2end.bin"))
    entry = writer.deploy_json(made, config, "openvino")["models"][0]
    assert (entry["net"], entry["weights"]) == ("end2end.xml", "end2end.bin")


@pytest.mark.parametrize(
    ("name", "stage", "component"),
    [
        ("rtmo_t", "dense", "YOLOXPoseHostDetections"),
        ("rtmo_t", "raw", "RTMOHostDetections"),
        ("yoloxpose_tiny", "dense", "YOLOXPoseHostDetections"),
    ],
)
def test_what_the_graph_leaves_to_the_host_is_named(name: str, stage: str, component: str) -> None:
    config = model(name)
    host = {"stage": stage, "score_threshold": 0.1}
    chosen, written = writer.postprocess(config, host)
    assert chosen == component
    assert written == {**host, "input_size": [416, 416]}


def test_compact_meta_holds_each_flip_pair_once_and_plain_numbers() -> None:
    meta = {
        "dataset_name": "two",
        "num_keypoints": 3,
        "keypoint_id2name": {0: "nose", 1: "left", 2: "right"},
        "flip_indices": [0, 2, 1],
        "skeleton_links": [(0, 1)],
        "sigmas": np.array([0.5, 0.25, 0.25], np.float32),
        "keypoint_colors": np.array([[255, 0, 1]], np.uint8),
    }
    compact = json.loads(json.dumps(writer.compact_dataset_meta(meta)))
    assert compact["keypoint_names"] == ["nose", "left", "right"]
    assert compact["flip_pairs"] == [[1, 2]]
    assert (compact["sigmas"], compact["keypoint_colors"]) == ([0.5, 0.25, 0.25], [[255, 0, 1]])
    assert compact["skeleton_link_colors"] == []


def test_numpy_numbers_of_a_config_are_written_and_what_json_cannot_hold_is_refused(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")  # detail.json names its version
    config = model("hrnet_w32", sigma=np.float64(2.5))
    meta: dict[str, Any] = {"keypoint_names": []}
    made, chosen = artifact(config), deploy_config(config)
    (tmp_path / "end2end.onnx").write_bytes(b"")
    writer.write_json_files(tmp_path, made, config, chosen, "w.pth", meta)
    written = json.loads((tmp_path / "pipeline.json").read_text(encoding="utf-8"))
    assert written["pipeline"]["tasks"][-1]["params"]["sigma"] == 2.5
    with pytest.raises(TypeError, match="a config holds a set"):
        writer._plain({1})


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("rtmpose_t", "pose-detection_simcc_onnxruntime_static"),
        ("yoloxpose_tiny", "pose-detection_yolox-pose_onnxruntime_dynamic"),
    ],
)
def test_a_folder_that_was_just_converted_has_no_findings(
    name: str, config: str, tiny_model: Any, tmp_path: Path
) -> None:
    tiny: TinyModel = tiny_model(name)
    deploy(config, tiny.config, tiny.checkpoint, tmp_path / "sdk")
    assert validate(tmp_path / "sdk") == []
    detail = json.loads((tmp_path / "sdk" / "detail.json").read_text(encoding="utf-8"))
    others = {path.name for path in (tmp_path / "sdk").iterdir()} - {"detail.json"}
    assert set(detail["posedeploy"]["files"]) == others


@pytest.mark.parametrize("name", BOTTOM_UP)
def test_several_classes_are_a_fact_and_one_is_none(name: str) -> None:
    config = model(name)
    assert "num_classes" not in writer.model_facts(config, 17)
    config.config["model"]["head"]["head_module_cfg"]["num_classes"] = 2
    assert writer.model_facts(config, 17)["num_classes"] == 2
