"""Configs in MMEngine's newer style, which import classes: names of types are what is read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from posedeploy.config import load_model_config, model_config_from
from posedeploy.config.files import read_config
from posedeploy.config.type_names import type_name, with_type_names

BASE = """
from mmpose.codecs import SimCCLabel
from mmpose.datasets.datasets import CocoDataset
from mmpose.datasets.transforms import GetBBoxCenterScale, LoadImage, PackPoseInputs, TopdownAffine

codec = dict(
    type=SimCCLabel, input_size=(64, 96), sigma=(2.0, 3.0), simcc_split_ratio=2.0,
    normalize=False, use_dark=False)
test_dataloader = dict(dataset=dict(type=CocoDataset, data_mode='topdown', pipeline=[
    dict(type=LoadImage), dict(type=GetBBoxCenterScale),
    dict(type=TopdownAffine, input_size=codec['input_size']), dict(type=PackPoseInputs)]))
"""
MODEL = """
import torch.nn as nn
from mmengine.config import read_base
from mmpose.models import CSPNeXt, KLDiscretLoss, PoseDataPreprocessor, RTMCCHead
from mmpose.models.pose_estimators import TopdownPoseEstimator as Estimator

with read_base():
    from .lazy_base import *

model = dict(
    type=Estimator,
    data_preprocessor=dict(
        type=PoseDataPreprocessor, mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True),
    backbone=dict(
        type=CSPNeXt, arch='P5', expand_ratio=0.5, deepen_factor=0.167, widen_factor=0.125,
        channel_attention=True, out_indices=(4,), norm_cfg=dict(type=nn.BatchNorm2d),
        act_cfg=dict(type=nn.SiLU)),
    head=dict(
        type=RTMCCHead, in_channels=128, out_channels=17, input_size=codec['input_size'],
        in_featuremap_size=(2, 3), simcc_split_ratio=2.0, final_layer_kernel_size=3,
        gau_cfg=dict(
            hidden_dims=32, s=16, expansion_factor=2, dropout_rate=0.0, drop_path=0.0,
            act_fn='SiLU', use_rel_bias=False, pos_enc=False),
        loss=dict(type=KLDiscretLoss), decoder=codec),
    test_cfg=dict(flip_test=True))
test_dataloader.update(batch_size=1)
"""


@pytest.fixture
def lazy(tmp_path: Path) -> Path:
    (tmp_path / "lazy_base.py").write_text(BASE)
    path = tmp_path / "lazy_model.py"
    path.write_text(MODEL)
    return path


def types_in(node: Any) -> list[Any]:
    if isinstance(node, dict):
        own = [node["type"]] if "type" in node else []
        return own + [name for child in node.values() for name in types_in(child)]
    if isinstance(node, list | tuple):
        return [name for child in node for name in types_in(child)]
    return []


def test_all_types_of_a_lazy_config_are_names(lazy: Path) -> None:
    config = load_model_config(lazy)
    assert (config.head, config.estimator) == ("RTMCCHead", "TopdownPoseEstimator")
    assert (config.family, config.codec["type"]) == ("RTMPose", "SimCCLabel")
    assert config.config.test_dataloader.batch_size == 1
    assert [step["type"] for step in config.test_pipeline] == [
        "LoadImage", "GetBBoxCenterScale", "TopdownAffine", "PackPoseInputs"
    ]  # fmt: skip
    found = types_in(config.config.to_dict())
    assert all(isinstance(name, str) for name in found), found
    assert {"torch.nn.BatchNorm2d", "torch.nn.SiLU", "KLDiscretLoss", "CocoDataset"} <= set(found)
    assert not any(name.startswith("mmpose") for name in found)
    assert "Estimator" not in config.config  # an import is no entry


def test_reading_a_lazy_config_imports_neither_torch_nor_mmpose(lazy: Path) -> None:
    code = (
        "import sys, pathlib; from posedeploy.config import load_model_config\n"
        "load_model_config(pathlib.Path(sys.argv[1]))\n"
        "print([m for m in ('torch', 'mmpose', 'mmcv') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(lazy)], capture_output=True, text=True, check=True,
        env={**os.environ, "POSEDEPLOY_TRUST_CONFIGS": "1"},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_whole_conversion_of_a_lazy_config(lazy: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from posedeploy.apis import deploy
    from posedeploy.sdk.validate import validate
    from posedeploy.synthetic.figures import draw_figure

    name, images = "pose-detection_simcc_onnxruntime_static", (draw_figure(3, (120, 90))[0],)
    checkpoint = tmp_path / "lazy.pth"
    save_fresh(lazy, checkpoint)
    done = deploy(name, lazy, checkpoint, tmp_path / "out", images=images)
    assert [result.distances.same for result in done.compared] == [True]
    assert validate(tmp_path / "out") == []


def save_fresh(config: Path, checkpoint: Path) -> None:
    import torch

    from posedeploy.zoo.build import build_model

    torch.manual_seed(7)
    model = build_model(load_model_config(config), None)
    for weights in model.parameters():
        if weights.ndim > 1:
            torch.nn.init.kaiming_normal_(weights)
    torch.save({"state_dict": model.state_dict()}, checkpoint)


def test_a_config_of_python_objects_has_names_as_well() -> None:
    from posedeploy.zoo.table import config_path, model_row

    class RTMCCHead:
        __module__ = "mmpose.models.heads"
        __qualname__ = "RTMCCHead"

    config = Config.fromfile(config_path(model_row("rtmpose_t")))
    config.model.head.type = RTMCCHead
    typed = model_config_from(config)
    assert typed.head == "RTMCCHead"
    assert typed.config.model.head.type == "RTMCCHead"
    assert config.model.head.type is RTMCCHead  # the caller's is as it was
    assert (
        typed.config.pretty_text
        == read_config(config_path(model_row("rtmpose_t")), "model config").pretty_text
    )


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("CSPNeXt", "CSPNeXt"), ("mmpose.CSPNeXt", "CSPNeXt"), ("mmdet.CSPNeXt", "mmdet.CSPNeXt"),
        ("mmpose.models.CSPNeXt", "CSPNeXt"), (dict, "builtins.dict"),
        (OrderedDict, "collections.OrderedDict"), (os.path.join, "posixpath.join"), (3, 3),
        (None, None),
    ],
)  # fmt: skip
def test_names(value: Any, name: Any) -> None:
    assert type_name(value) == name


def test_what_is_no_type_stays() -> None:
    config = with_type_names(Config({"a": {"type": int, "other": int}, "b": (1, [2.5, None])}))
    assert config.a.type == "builtins.int"
    assert config.a.other is int
    assert config.b == (1, [2.5, None])
