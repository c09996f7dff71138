"""Calibrated weights: the last layers' outputs are spread alike, wherever those layers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from posedeploy.config import load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic.calibration import calibrate, image_batch
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import shipped_config

SMALL_CPM = """
_base_ = {base!r}
codec = dict(type='MSRAHeatmap', input_size=(48, 48), heatmap_size=(6, 6), sigma=1)
model = dict(
    backbone=dict(feat_channels=8, middle_channels=4, num_stages=2),
    head=dict(num_stages=2, decoder=codec))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(48, 48)), dict(type='PackPoseInputs')]))
"""
WITHOUT_A_LAYER = """
_base_ = {base!r}
model = dict(
    backbone=dict(_delete_=True, type='ShuffleNetV2', out_indices=(0,)),
    head=dict(num_stages=1))
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "model.py"
    path.write_text(text.format(base=str(shipped_config("td-hm_cpm_8xb64-210e_coco-256x192.py"))))
    return path


def test_heatmaps_of_a_backbone_are_standardized(tmp_path: Path) -> None:
    """CPM's head has `final_layer=None`: the backbone's last layer is what outputs heatmaps."""
    config = load_model_config(written(tmp_path, SMALL_CPM))
    model: Any = build_model(config, None)
    calibrate(model, config, seed=0)
    batch = torch.cat([image_batch(config, 4, seed) for seed in (0, 1)])
    with torch.no_grad():
        heatmaps = model.head.forward(model.extract_feat(batch))[-1]
    channels = heatmaps.movedim(1, 0).flatten(1)
    assert channels.mean(dim=1).abs().max() < 1e-3
    assert float(channels.std()) == pytest.approx(1, abs=0.01)


def test_other_backbones_need_a_final_layer(tmp_path: Path) -> None:
    config = load_model_config(written(tmp_path, WITHOUT_A_LAYER))
    model: Any = build_model(config, None)
    with pytest.raises(BadInputError, match=r"final_layer=None\) on ShuffleNetV2"):
        calibrate(model, config, seed=0)
