"""Fitted weights find joints, are the same every time, and are offered where there is a plan."""

from __future__ import annotations

import dataclasses
import functools
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from posedeploy import synthetic
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic.accuracy.evaluation import Evaluation
from posedeploy.synthetic.fitting import PLANS, can_fit, hrnet, why_not
from posedeploy.synthetic.fitting.fit import fit, plan_of
from posedeploy.synthetic.weights import (
    KINDS,
    checkpoint_content,
    checkpoint_for,
    recipe_hash,
    recipe_modules,
)
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.table import MODELS, config_path, model_row

SYNTHETIC = Path(synthetic.__file__).parent
FIGURES = 16  # of the evaluation split: 272 joints
FEW = dataclasses.replace(hrnet.PLAN, images=12)
# an HRNet of a sixteenth of the work: fewer channels, half the input
NARROW = """
_base_ = {base!r}
codec = dict(type='MSRAHeatmap', input_size=(96, 128), heatmap_size=(24, 32), sigma=1)
model = dict(
    backbone=dict(init_cfg=None, extra=dict(
        stage2=dict(num_channels=(20, 40)),
        stage3=dict(num_modules=2, num_channels=(20, 40, 80)),
        stage4=dict(num_channels=(20, 40, 80, 160)))),
    head=dict(in_channels=20, decoder=codec))
test_dataloader = dict(dataset=dict(pipeline=[
    dict(type='LoadImage'), dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(96, 128)), dict(type='PackPoseInputs')]))
val_dataloader = test_dataloader
"""


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> ModelConfig:
    path = tmp_path_factory.mktemp("narrow") / "narrow.py"
    path.write_text(NARROW.format(base=str(config_path(model_row("hrnet_w32")))))
    return load_model_config(path)


def config_of(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


def fresh(config: ModelConfig) -> Any:
    torch.manual_seed(0)
    return build_model(config, None)


def test_fitted_hrnet_finds_the_joints(
    narrow: ModelConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a third of the figures that the plan asks for; the file is read as a user's own."""
    make = functools.partial(checkpoint_content, plan=FEW)
    with caplog.at_level(logging.INFO, logger="posedeploy.synthetic.fitting"):
        checkpoint = checkpoint_for(narrow, tmp_path, "narrow", kind="fitted", make=make)
    evaluation = Evaluation(narrow, FIGURES)
    measured = evaluation.with_shift(build_model(narrow, checkpoint))
    assert measured.pck >= 0.8
    assert 0 < measured.shift_px < 12
    assert evaluation(fresh(narrow)).pck < 0.1  # what makes the first line mean something
    assert "head.final_layer: R²" in caplog.text
    meta = load_checkpoint(checkpoint).meta
    assert meta["posedeploy"]["weights"] == "fitted"
    assert meta["dataset_meta"]["flip_indices"] == list(range(17))
    assert meta["dataset_meta"]["flip_pairs"] == []
    assert checkpoint.name.startswith("narrow-")


def test_the_same_bits_come_twice(narrow: ModelConfig) -> None:
    states = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        model = fresh(narrow)
        fit(model, narrow, 0, dataclasses.replace(FEW, images=4))
        torch.set_num_threads(before)
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


@pytest.mark.parametrize("row", [row for row in MODELS if can_fit(row)], ids=lambda row: row.name)
def test_every_stage_of_a_plan_is_a_layer_of_the_model(row: Any) -> None:
    config = config_of(row.name)
    model: Any = fresh(config)
    plan = plan_of(config)
    with torch.no_grad():
        plan.prepare(model)
    for stage in plan.stages(model):
        layer = model.get_submodule(stage.layer)
        conv = getattr(layer, "conv", layer)
        assert conv.groups == 1
        assert conv.out_channels >= 17
        for path in (stage.norm, stage.identity):
            assert not path or model.get_submodule(path)
        assert 0 < stage.keep <= 1


def test_what_can_be_fitted_and_why_the_rest_cannot() -> None:
    for row in MODELS:
        assert can_fit(row) == (why_not(row) == "") == can_fit(config_of(row.name))
    assert why_not(model_row("rtmo_t")) == "no plan for a RTMOHead on a CSPDarknet"


def test_a_model_that_cannot_be_fitted_is_refused_with_the_reason(tmp_path: Path) -> None:
    config = config_of("simcc_res50")
    with pytest.raises(BadInputError, match="no plan for a SimCCHead on a ResNet"):
        checkpoint_for(config, tmp_path, kind="fitted")
    with pytest.raises(BadInputError, match="calibrated or fitted or trained"):
        checkpoint_for(config, tmp_path, kind="tamed")
    with pytest.raises(BadInputError, match="Take calibrated weights"):
        checkpoint_for(config, tmp_path, kind="trained")
    assert not list(tmp_path.rglob("*.pth"))


def test_kinds_are_different_files(tmp_path: Path) -> None:
    made: list[str] = []

    def make(_config: ModelConfig, _seed: int, kind: str) -> dict[str, Any]:
        made.append(kind)
        return {}

    config, kinds = config_of("mspn50"), ("calibrated", "fitted")
    paths = {checkpoint_for(config, tmp_path, kind=kind, make=make) for kind in (*kinds, *kinds)}
    assert len(paths) == len(made) == len(kinds)


@pytest.mark.parametrize("changed", ["ridge.py", "drawn.py", "mspn.py", "hrnet.py"])
def test_sources_of_a_fit_decide_its_own_file_alone(changed: str, tmp_path: Path) -> None:
    shutil.copytree(
        SYNTHETIC.parent, tmp_path / "posedeploy", ignore=shutil.ignore_patterns("*pyc")
    )
    folder = tmp_path / "posedeploy" / SYNTHETIC.name
    (source,) = folder.rglob(changed)
    source.write_text(f"{source.read_text()}#")
    config = config_of("hrnet_w32")
    same = {
        kind: recipe_hash(modules, folder) == recipe_hash(modules)
        for kind in KINDS
        for modules in (recipe_modules(config, kind),)
    }
    # mspn.py is another model's plan
    assert same == {"calibrated": True, "fitted": changed == "mspn.py", "trained": True}


def test_every_module_that_fits_is_part_of_the_hash() -> None:
    """All of the package but what looks models up."""
    folder = SYNTHETIC / "fitting"
    hashed = {name.removeprefix("fitting/") for name in KINDS["fitted"]} | set(PLANS.values())
    assert {path.stem for path in folder.glob("*.py")} - hashed == {"__init__", "table"}
