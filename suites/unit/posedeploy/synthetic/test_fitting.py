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
from posedeploy.config import FAMILIES, ModelConfig, load_model_config
from posedeploy.errors import BadInputError
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
from posedeploy.synthetic.weights import (
    KINDS,
    checkpoint_content,
    checkpoint_for,
    recipe_hash,
    recipe_modules,
)
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint
from posedeploy.zoo.table import MODELS, config_path, model_row, models_of

SYNTHETIC = Path(synthetic.__file__).parent
FIGURES = 8  # of the evaluation split: 136 joints


def config_of(name: str) -> ModelConfig:
    return load_model_config(config_path(model_row(name)))


def fresh(name: str) -> Any:
    torch.manual_seed(0)
    return build_model(config_of(name), None)


def test_fitted_litehrnet_finds_the_joints(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With an eighth of the figures that the plan asks for; the file is read as a user's own."""
    few = dataclasses.replace(litehrnet.PLAN, images=8)
    make = functools.partial(checkpoint_content, plan=few)
    config = config_of("litehrnet_18")
    with caplog.at_level(logging.INFO, logger="posedeploy.synthetic.fitting"):
        checkpoint = checkpoint_for(config, tmp_path, "lite", kind="fitted", make=make)
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


def test_fitted_rtmpose_finds_most_joints_and_the_same_bits_come_twice() -> None:
    """Few of the plan's figures: far above chance (0.01), below what all of them reach."""
    few = dataclasses.replace(cspnext.PLAN, images=8)
    config, states = config_of("rtmpose_t"), []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        model = fresh("rtmpose_t")
        fit(model, config, 0, few)
        torch.set_num_threads(before)
        states.append(model.state_dict())
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name
    assert measure_top_down(model, config, FIGURES).pck_10 > 0.6


def test_unfitted_weights_find_nothing() -> None:
    """What makes the tests above mean something."""
    config = config_of("litehrnet_18")
    assert measure_top_down(fresh("litehrnet_18"), config, FIGURES).pck < 0.1


@pytest.mark.parametrize("row", [row for row in MODELS if can_fit(row)], ids=lambda row: row.name)
def test_every_stage_of_a_plan_is_a_layer_of_the_model(row: Any) -> None:
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


def test_every_family_is_fitted_or_has_a_reason() -> None:
    planned = {FAMILIES.get(key) or FAMILIES[key[0], ""] for key in PLANS}
    assert planned | set(NOT_FITTED) >= {row.family for row in models_of(["quick"])}
    assert not planned & set(NOT_FITTED)
    for row in MODELS:
        assert can_fit(row) == (why_not(row) == "")
        assert can_fit(config_of(row.name)) == can_fit(row)
    assert why_not(model_row("rtmo_t")) == NOT_FITTED["RTMO"]
    assert why_not(model_row("simcc_res50")) == "no plan for a SimCCHead on a ResNet"


def test_a_model_that_cannot_be_fitted_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no plan for a SimCCHead on a ResNet"):
        checkpoint_for(config_of("simcc_res50"), tmp_path, kind="fitted")
    with pytest.raises(BadInputError, match="calibrated or fitted"):
        checkpoint_for(config_of("simcc_res50"), tmp_path, kind="trained")
    assert not list(tmp_path.rglob("*.pth"))


def test_kinds_are_different_files(tmp_path: Path) -> None:
    made: list[str] = []

    def make(_config: ModelConfig, _seed: int, kind: str) -> dict[str, Any]:
        made.append(kind)
        return {}

    config = config_of("litehrnet_18")
    paths = {checkpoint_for(config, tmp_path, kind=kind, make=make) for kind in (*KINDS, *KINDS)}
    assert len(paths) == len(made) == len(KINDS)


@pytest.mark.parametrize("changed", ["ridge.py", "drawn.py", "litehrnet.py", "hrnet.py"])
def test_sources_of_a_fit_decide_its_own_file_alone(changed: str, tmp_path: Path) -> None:
    shutil.copytree(
        SYNTHETIC.parent, tmp_path / "posedeploy", ignore=shutil.ignore_patterns("*pyc")
    )
    folder = tmp_path / "posedeploy" / SYNTHETIC.name
    (source,) = folder.rglob(changed)
    source.write_text(f"{source.read_text()}#")
    config = config_of("litehrnet_18")
    same = {
        kind: recipe_hash(modules, folder) == recipe_hash(modules)
        for kind in KINDS
        for modules in (recipe_modules(config, kind),)
    }
    # hrnet.py is another model's plan
    assert same == {"calibrated": True, "fitted": changed == "hrnet.py"}


def test_every_module_that_fits_is_part_of_the_hash() -> None:
    """All of the package but what looks models up or measures them."""
    folder = SYNTHETIC / "fitting"
    hashed = {name.removeprefix("fitting/") for name in KINDS["fitted"]} | set(PLANS.values())
    rest = {path.stem for path in folder.glob("*.py")} - hashed
    measures = {"accuracy", "detector_accuracy", "rounding"}
    assert rest == measures | {"__init__", "__main__", "table"}


@pytest.mark.parametrize(("pck", "code"), [(0.995, 0), (0.9, 1)])
def test_command_prints_a_table_and_fails_below_the_requirement(
    pck: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Accuracy(pck=pck, pck_10=1.0, mean_px=1.25, median_px=1.0, oks=0.99, shift_px=0.5)
    models = ["litehrnet_18", "simcc_res50"]
    assert __main__.main(models, measure=lambda *_: measured) == code
    printed = capsys.readouterr().out
    assert f"| litehrnet_18 | {pck:.3f} | 1.000 | 1.25 | 1.00 | 0.990 | 0.50 | 0.99" in printed
    assert ("MISSED" in printed) == bool(code)
    assert "| simcc_res50 | not fitted: no plan for a SimCCHead on a ResNet |" in printed
