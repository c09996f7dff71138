"""Training learns, is the same after an interruption, and refuses a folder of another one."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.tiny_models import TinyModel
from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.synthetic.training.loop import Settings, Training, rate_factor
from posedeploy.synthetic.training.recipes import Phase, Recipe
from posedeploy.zoo.build import build_model
from posedeploy.zoo.checkpoints import load_checkpoint

RECIPE = Recipe(steps=6, batch=2, warmup=2)
SETTINGS = Settings(log_every=2, evaluate_every=4, save_every=3)
AUXILIARY = {"loss_kpt_aux": {"type": "L1Loss", "use_target_weight": True, "loss_weight": 2.0}}
RECIPES = {
    "rtmpose_t": RECIPE,
    "yoloxpose_tiny": replace(
        RECIPE, config=AUXILIARY, phases=(Phase(0.5, {"use_aux_loss": True}),)
    ),
}


class Interrupted(Exception):  # noqa: N818  as by Ctrl-C
    pass


def measured(model: Any) -> Mapping[str, float]:
    """Depends on the weights, and needs no figure."""
    return {"sum": float(sum(p.detach().double().sum() for p in model.parameters()))}


def trained(
    config: ModelConfig,
    name: str,
    folder: Path,
    stop: int = 0,
    resume: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """The folder's weights after a training, or `{}` after one that stopped behind a step."""

    def report(step: int, _measures: Mapping[str, float]) -> None:
        if step == stop:
            raise Interrupted

    training = Training("tiny", config, RECIPES[name], replace(SETTINGS, **changes), folder)
    begin = training.resume if resume else training.start
    begin()
    try:
        training.run(measured, report)
    except Interrupted:
        return {}
    return dict(load_checkpoint(training.weights).state_dict)


def log_of(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "cpu_seconds"} for line in lines]


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("stop", [3, 5])
def test_resumed_training_equals_an_uninterrupted_one(
    name: str, stop: int, tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    """Stopped right behind a checkpoint, and two steps and a line of the log later."""
    config = load_model_config(tiny_model(name).config)
    whole = trained(config, name, tmp_path / "whole")
    assert trained(config, name, tmp_path / "parts", stop=stop) == {}
    rest = trained(config, name, tmp_path / "parts", resume=True)
    assert_equal(whole, rest)
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "parts")


@pytest.fixture
def sigchld() -> Iterator[None]:
    """Puts the handler of SIGCHLD back: torch's loader leaves its own, for every later child."""
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.usefixtures("sigchld")
def test_workers_change_nothing_and_the_seed_everything(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("rtmpose_t").config)
    one = trained(config, "rtmpose_t", tmp_path / "0")
    assert_equal(one, trained(config, "rtmpose_t", tmp_path / "1", workers=1))
    other = trained(config, "rtmpose_t", tmp_path / "2", seed=1)
    assert not torch.equal(one["head.cls_x.weight"], other["head.cls_x.weight"])


def test_the_loss_falls_and_the_weights_load(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("rtmpose_t").config)
    losses: list[float] = []
    training = Training(
        "tiny", config, Recipe(steps=50, batch=8, rate=4e-3, warmup=5), SETTINGS, tmp_path / "out"
    )
    training.start()
    training.run(measured, lambda _step, measures: losses.append(measures["loss"]))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    model: Any = build_model(config, training.weights)
    assert measured(model)["sum"] == pytest.approx(log_of(tmp_path / "out")[-1]["sum"], abs=1e-4)
    assert model.dataset_meta["flip_pairs"] == []


def test_a_training_starts_from_a_given_backbone(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("rtmpose_t").config)
    given = {
        name.removeprefix("backbone."): value
        for name, value in trained(config, "rtmpose_t", tmp_path / "given", seed=1).items()
        if name.startswith("backbone.")
    }
    recipe = replace(RECIPE, steps=1, rate=1e-12, average=0.0, backbone_of="rtmpose_t")
    training = Training("tiny", config, recipe, SETTINGS, tmp_path / "out")
    training.start(given)
    training.run(measured)
    found = dict(load_checkpoint(training.weights).state_dict)
    kernels = [name for name, value in given.items() if value.ndim == 4]  # one step moves the rest
    assert kernels
    for name in kernels:
        assert torch.allclose(found[f"backbone.{name}"], given[name], atol=1e-6)
    with pytest.raises(BadInputError, match="the model's own backbone"):
        Training("tiny", config, recipe, SETTINGS, tmp_path / "other").start({})


def test_phases_add_the_auxiliary_loss(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("yoloxpose_tiny").config)
    trained(config, "yoloxpose_tiny", tmp_path)
    with_loss = {line["step"]: "loss_kpt_aux" in line for line in log_of(tmp_path)}
    assert with_loss == {2: False, 4: True, 6: True}


def test_a_folder_that_cannot_be_resumed_is_refused(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("rtmpose_t").config)
    with pytest.raises(BadInputError, match=r"no state\.pth"):
        trained(config, "rtmpose_t", tmp_path, resume=True)
    trained(config, "rtmpose_t", tmp_path, stop=3)
    with pytest.raises(BadInputError, match="options that it was started with"):
        trained(config, "rtmpose_t", tmp_path, resume=True, seed=1)
    with pytest.raises(BadInputError, match="a training that was begun"):
        trained(config, "rtmpose_t", tmp_path)


def test_the_rate_rises_and_falls() -> None:
    rates = [rate_factor(step, 1000, 100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01, rel=0.01)
    assert max(rates) == rates[99] > 0.95
    assert rates[-1] == pytest.approx(0.01, abs=1e-4)


def test_first_weights_may_be_larger_than_mmposes(
    tiny_model: Callable[..., Any], tmp_path: Path
) -> None:
    config = load_model_config(tiny_model("rtmpose_t").config)
    pattern = "head.cls_?"
    made = [
        Training("rtmpose_t", config, replace(RECIPE, normal=normal), SETTINGS, tmp_path / name)
        for name, normal in (("as_mmpose", {}), ("larger", {pattern: 0.5}))
    ]
    stds = [float(training._model.head.cls_x.weight.std()) for training in made]
    assert stds[0] < 0.1
    assert stds[1] == pytest.approx(0.5, rel=0.1)
