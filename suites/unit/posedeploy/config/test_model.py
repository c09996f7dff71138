"""What is read of an MMPose config: family, head kind, shape, normalization."""

from __future__ import annotations

from pathlib import Path

import pytest

from posedeploy.config import FAMILIES, load_model_config
from posedeploy.config.model_config import OTHER_FAMILY, family_of
from posedeploy.errors import BadInputError
from posedeploy.zoo.table import MODELS, config_path, model_row


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_the_family_is_found_from_the_config(row) -> None:  # type: ignore[no-untyped-def]
    assert load_model_config(config_path(row)).family == row.family


def test_the_input_size_is_the_pipelines_not_the_codecs() -> None:
    config = load_model_config(config_path(model_row("yoloxpose_tiny")))
    assert config.codec["input_size"] == (640, 640)
    assert config.input_size == (416, 416)


def test_the_last_of_several_codecs_decodes() -> None:
    config = load_model_config(config_path(model_row("mspn50")))
    assert config.codec["type"] == "MegviiHeatmap"
    assert config.codec["kernel_size"] == 5
    assert config.test_cfg["flip_test"] is False


def test_bottom_up_models_take_bgr_as_it_is() -> None:
    config = load_model_config(config_path(model_row("rtmo_t")))
    assert config.head_kind.kind == "rtmo"
    assert config.head_kind.bottom_up
    assert (config.mean, config.std, config.bgr_to_rgb) == ((0, 0, 0), (1, 1, 1), False)


def test_every_family_is_found_from_head_and_backbone() -> None:
    for (head, backbone), family in FAMILIES.items():
        assert family_of(head, f"mmdet.{backbone}" if backbone else "Anything") == family
    assert family_of("HeatmapHead", "MyNet") == OTHER_FAMILY


def test_an_unsupported_head_lists_the_supported(tmp_path: Path) -> None:
    path = tmp_path / "other.py"
    path.write_text("model = dict(backbone=dict(type='B'), head=dict(type='NoSuchHead'))")
    with pytest.raises(BadInputError) as caught:
        load_model_config(path)
    assert caught.value.found == "NoSuchHead"
    assert "HeatmapHead" in caught.value.expected
    assert "RTMOHead" in caught.value.expected


def test_a_head_that_cannot_be_exported_says_why(tmp_path: Path) -> None:
    path = tmp_path / "edpose.py"
    path.write_text("model = dict(backbone=dict(type='ResNet'), head=dict(type='EDPoseHead'))")
    with pytest.raises(BadInputError, match="MultiScaleDeformableAttention"):
        load_model_config(path)


def test_a_deploy_config_in_place_of_a_model_config_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "deploy.py"
    path.write_text("backend_config = dict(type='onnxruntime')")
    with pytest.raises(BadInputError, match="This is a deploy config"):
        load_model_config(path)


def test_a_config_without_a_resizing_step_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(
        "model = dict(type='T', backbone=dict(type='HRNet'), head=dict(type='HeatmapHead'))\n"
        "test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImage')]))"
    )
    with pytest.raises(BadInputError, match="GetBBoxCenterScale, TopdownAffine"):
        load_model_config(path)


def test_a_config_of_mmpose_0_is_recognized(tmp_path: Path) -> None:
    path = tmp_path / "old.py"
    path.write_text("model = dict(backbone=dict(type='HRNet'), keypoint_head=dict(type='T'))")
    with pytest.raises(BadInputError, match=r"MMPose 0\.x"):
        load_model_config(path)


def test_a_config_without_a_test_pipeline_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text("model = dict(backbone=dict(type='HRNet'), head=dict(type='HeatmapHead'))")
    with pytest.raises(BadInputError, match="no test_dataloader"):
        load_model_config(path)
