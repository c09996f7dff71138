"""Checkpoints and graphs that only torch can spoil; called by name in the child that has it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from poseconform.reference.network import load_model
from poseconform.subject import mmpose_models
from posedeploy.config import load_model_config
from posedeploy.paths import cache_dir
from posedeploy.synthetic.weights import checkpoint_for

NORMS = _BatchNorm  # of any dimension


def other_epsilon(config: str, good: str, bad: str, factor: float, count: int) -> None:
    """Weights that give what batch norms with `factor` times their epsilon would give.

    y = g (x - m) / sqrt(v + f e) + b is what a norm with epsilon e computes with its scale
    g sqrt((v + e) / (v + f e)).

    Args:
        config: MMPose model config.
        good: Its checkpoint.
        bad: Where the changed one goes.
        factor: Of the epsilon.
        count: How many norms, from the middle of the network on; 0 for all.
    """
    state = mmpose_models.read_state_dict(Path(good))
    model = load_model(config, good)
    norms = [(n, m.eps) for n, m in model.named_modules() if isinstance(m, NORMS)]
    chosen = norms[len(norms) // 2 :][:count] if count else norms
    for name, eps in chosen:
        variance = state[f"{name}.running_var"].double()
        scale = ((variance + eps) / (variance + factor * eps)).sqrt()
        state[f"{name}.weight"] = (state[f"{name}.weight"].double() * scale).float()
    _save(state, bad)


def other_weights(config: str, _good: str, bad: str, seed: int) -> None:
    """The same network with other weights."""
    path = checkpoint_for(load_model_config(config), cache_dir(), seed=seed)
    shutil.copyfile(path, bad)


def never_loaded(config: str, good: str, bad: str) -> None:
    """The weights that the network starts from before anything is loaded into it."""
    read = mmpose_models.read_model_config(config)
    from mmpose.apis import init_model

    torch.manual_seed(0)
    model = init_model(read, None, device="cpu")
    state = mmpose_models.read_state_dict(Path(good))
    started = model.state_dict()
    _save({name: started[name] for name in state}, bad)


def averages_lost(_config: str, good: str, bad: str) -> None:
    """Running means and variances as they are before training: 0 and 1."""
    state = mmpose_models.read_state_dict(Path(good))
    for name, tensor in state.items():
        if name.endswith("running_mean"):
            tensor.zero_()
        elif name.endswith("running_var"):
            tensor.fill_(1)
    _save(state, bad)


def earlier_unit(config: str, good: str, path: str, unit: int) -> None:
    """An ONNX file of an MSPN that gives another unit's heatmaps than the last one's.

    Args:
        config: MMPose model config.
        good: Its checkpoint.
        path: The file.
        unit: Index into what the head returns.
    """
    model = load_model(config, good)

    class Unit(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: torch.Tensor) -> Any:
            return self.model.head.forward(self.model.extract_feat(image))[unit]

    width, height = load_model_config(config).input_size
    torch.onnx.export(
        Unit().eval(), (torch.zeros(1, 3, height, width),), path, dynamo=False, opset_version=17,
        input_names=["input"], output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )  # fmt: skip


def _save(state: dict[str, torch.Tensor], path: str) -> None:
    torch.save({"state_dict": state, "meta": {}}, path)
