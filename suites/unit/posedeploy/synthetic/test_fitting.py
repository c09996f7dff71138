"""Fitted weights find joints, are the same every time, and are offered where there is a plan."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from posedeploy.config import FAMILIES, ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic import weights as weights_module
from posedeploy.synthetic.fitting import (
    NOT_FITTED,
    PLANS,
    __main__,
    can_fit,
    cspnext,
    litehrnet,
    why_not,
)
from posedeploy.synthetic.fitting.accuracy import Accuracy, measure_top_down
from posedeploy.synthetic.fitting.fit import fit, plan_of
from posedeploy.synthetic.fitting.table import REQUIRED_PCK
from posedeploy.synthetic.weights import KINDS, checkpoint_for
from posedeploy.zoo import MODELS, config_path, model_row
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint

FIGURES = 8  # of the evaluation split: 136 joints


def config_of(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


def fresh(name: str) -> Any:
    torch.manual_seed(0)
    return build_model(config_of(name), None)


def with_images(monkeypatch: pytest.MonkeyPatch, module: Any, count: int) -> None:
    """Fit to fewer figures, for time."""
    monkeypatch.setattr(module, "PLAN", dataclasses.replace(module.PLAN, images=count))


def test_fitted_litehrnet_finds_the_joints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """With a quarter of the figures that the plan asks for; the file is read as a user's own."""
    with_images(monkeypatch, litehrnet, 16)
    config = config_of("litehrnet_18")
    with caplog.at_level(logging.INFO, logger="posedeploy.synthetic.fitting"):
        checkpoint = checkpoint_for(config, tmp_path, "lite", kind="fitted")
    model = build_model(config, checkpoint)
    measured = measure_top_down(model, config, FIGURES)
    assert measured.pck >= 0.97
    assert measured.mean_px < 3
    assert 0 < measured.shift_px < 6
    assert "head.final_layer: R²" in caplog.text
    meta = load_checkpoint(checkpoint).meta
    assert meta["posedeploy"]["weights"] == "fitted"
    assert meta["dataset_meta"]["flip_indices"] == list(range(17))
    assert meta["dataset_meta"]["flip_pairs"] == []
    assert checkpoint.name.startswith("lite-")


def test_fitted_rtmpose_finds_most_joints_and_the_same_bits_come_twice(
    monkeypatch: pytest.MonkeyPatch,
):
    """An eighth of the plan's figures: far above chance (0.01), below what all of them reach."""
    with_images(monkeypatch, cspnext, 24)
    config, states = config_of("rtmpose_t"), []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        model = fresh("rtmpose_t")
        fit(model, config, 0)
        torch.set_num_threads(before)
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    assert measure_top_down(model, config, FIGURES).pck_10 > 0.6


def test_unfitted_weights_find_nothing():
    """What makes the tests above mean something."""
    config = config_of("litehrnet_18")
    assert measure_top_down(fresh("litehrnet_18"), config, FIGURES).pck < 0.1


@pytest.mark.parametrize("row", [row for row in MODELS if can_fit(row)], ids=lambda row: row.name)
def test_every_stage_of_a_plan_is_a_layer_of_the_model(row: Any):
    config = config_of(row.name)
    model: Any = fresh(row.name)
    plan = plan_of(config)
    with torch.no_grad():
        plan.prepare(model)
    for stage in plan.stages(model):
        layer = model.get_submodule(stage.layer)
        conv = getattr(layer, "conv", layer)
        assert conv.groups == 1
        assert conv.out_channels >= min(stage.maps.channels, 16)
        for path in (stage.norm, stage.identity):
            assert not path or model.get_submodule(path)
        assert 0 < stage.keep <= 1
    assert config.head_kind.kind in REQUIRED_PCK


def test_every_family_is_fitted_or_has_a_reason():
    planned = {FAMILIES.get(key) or FAMILIES[key[0], ""] for key in PLANS}
    assert planned | set(NOT_FITTED) == set(FAMILIES.values())
    assert not planned & set(NOT_FITTED)
    for row in MODELS:
        assert can_fit(row) == (why_not(row) == "")
        assert can_fit(config_of(row.name)) == can_fit(row)
    assert why_not(model_row("rtmo_t")) == NOT_FITTED["RTMO"]
    assert why_not(model_row("simcc_res50")) == "no plan for a SimCCHead on a ResNet"


def test_a_model_that_cannot_be_fitted_is_refused_with_the_reason(tmp_path: Path):
    with pytest.raises(BadInputError, match="no plan for a SimCCHead on a ResNet"):
        checkpoint_for(config_of("simcc_res50"), tmp_path, kind="fitted")
    with pytest.raises(BadInputError, match="calibrated or fitted"):
        checkpoint_for(config_of("simcc_res50"), tmp_path, kind="trained")
    assert not list(tmp_path.rglob("*.pth"))


def test_kinds_are_different_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []
    monkeypatch.setattr(
        weights_module, "_make", lambda _config, _seed, kind: made.append(kind) or {}
    )
    config = config_of("litehrnet_18")
    paths = {checkpoint_for(config, tmp_path, kind=kind) for kind in (*KINDS, *KINDS)}
    assert len(paths) == len(made) == len(KINDS)


@pytest.mark.parametrize("changed", ["ridge.py", "drawn.py", "litehrnet.py", "hrnet.py"])
def test_sources_of_a_fit_decide_its_own_file_alone(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(weights_module, "_make", lambda *_: {})
    config = config_of("litehrnet_18")
    weights_module._recipe_hash.cache_clear()
    before = {kind: checkpoint_for(config, tmp_path, kind=kind) for kind in KINDS}
    read_bytes = Path.read_bytes
    monkeypatch.setattr(
        Path, "read_bytes", lambda path: read_bytes(path) + b"#" * (path.name == changed)
    )
    weights_module._recipe_hash.cache_clear()
    assert checkpoint_for(config, tmp_path, kind="calibrated") == before["calibrated"]
    same = checkpoint_for(config, tmp_path, kind="fitted") == before["fitted"]
    assert same == (changed == "hrnet.py")  # another model's plan
    monkeypatch.undo()
    weights_module._recipe_hash.cache_clear()


def test_every_module_that_fits_is_part_of_the_hash():
    """All of the package but what looks models up or measures them."""
    folder = Path(weights_module.__file__).parent / "fitting"
    hashed = {name.removeprefix("fitting/") for name in KINDS["fitted"]} | set(PLANS.values())
    rest = {path.stem for path in folder.glob("*.py")} - hashed
    measures = {"accuracy", "detector_accuracy", "rounding"}
    assert rest == measures | {"__init__", "__main__", "table"}


@pytest.mark.parametrize(("pck", "code"), [(0.995, 0), (0.9, 1)])
def test_command_prints_a_table_and_fails_below_the_requirement(
    pck: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    measured = Accuracy(pck=pck, pck_10=1.0, mean_px=1.25, median_px=1.0, oks=0.99, shift_px=0.5)
    monkeypatch.setattr(__main__, "checkpoint_for", lambda *_, kind: Path(kind))
    monkeypatch.setattr(__main__, "build_model", lambda *_: None)
    monkeypatch.setattr(__main__, "measure_top_down", lambda *_: measured)
    assert __main__.main(["litehrnet_18", "simcc_res50"]) == code
    printed = capsys.readouterr().out
    assert f"| litehrnet_18 | {pck:.3f} | 1.000 | 1.25 | 1.00 | 0.990 | 0.50 | 0.99" in printed
    assert ("MISSED" in printed) == bool(code)
    assert "| simcc_res50 | not fitted: no plan for a SimCCHead on a ResNet |" in printed
