"""How each model is trained: one row a model. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from posedeploy.errors import BadInputError, did_you_mean


@dataclass(frozen=True)
class Phase:
    """Attributes of the head that change during training, as mmpose's mode switch hooks do it.

    Attributes:
        start: Part of the steps, 0..1, after which they change.
        head: Dotted path of an attribute of the head -> its value.
    """

    start: float
    head: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained; it applies to its own config's input size.

    Attributes:
        steps: Optimizer steps.
        batch: Images a step: crops of a person for a top-down model, whole images for a detector.
        rate: Largest learning rate of AdamW.
        decay: Weight decay of weights with two dimensions or more; the others have none.
        clip: Largest norm of the gradient.
        warmup: Steps with a rate that rises from 0.
        average: Of the exponential moving average of the weights: part of it that a step keeps.
        phases: Changes of the head.
        config: Fields of mmpose's head config that differ from the model's own.
        normal: Path of modules, `*` for any part -> standard deviation of their first weights,
            where those of mmpose's initialization leave float16's normal range.
        backbone_of: A model of the zoo whose stored weights the backbone starts from; '' for the
            initialization of the model's config.
    """

    steps: int
    batch: int
    rate: float = 1e-3
    decay: float = 0.05
    clip: float = 5.0
    warmup: int = 100
    average: float = 0.998
    phases: tuple[Phase, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    normal: Mapping[str, float] = field(default_factory=dict)
    backbone_of: str = ""


# mmpose trains YOLOX-Pose with its L1 losses (weight 20) in the last 20 of 300 epochs only, after
# a start from pretrained weights. The gradient of the OKS loss vanishes far from a joint and is
# small near it: with it and L1 at 20, elbows, wrists, knees and ankles were 10 to 25 px off after
# 3,600 steps from nothing, and the head 2 px. At 400 the L1 loss weighs as much as the OKS loss.
_YOLOX_POSE: Mapping[str, Any] = {
    "use_aux_loss": True,
    "loss_kpt_aux": {"type": "L1Loss", "use_target_weight": True, "loss_weight": 20.0},
}
_NEAR_THE_JOINT = (Phase(0.72, {"loss_kpt_aux.loss_weight": 400.0}),)
# The switch of mmpose's RTMOModeSwitchHook at epoch 280 of 600; `rtmo-t_8xb32-600e_body7-416x416`,
# whose backbone starts from a trained detector of the same backbone, as it does here.
_RTMO = (
    Phase(0.0, {"use_aux_loss": True}),
    Phase(
        0.45,
        {"proxy_target_cc": True, "loss_mle.loss_weight": 5.0, "loss_oks.loss_weight": 10.0},
    ),
)
# LiteHRNet starts from weights with a standard deviation of 0.001. Those that weight channels keep
# it in so short a training: 5 to 8 % of a layer lay below float16's smallest normal number.
_LITEHRNET = {"*_weighting.*.conv": 0.02}

# fmt: off
RECIPES: Mapping[str, Recipe] = {
    "hourglass52":       Recipe(3000, 32),
    "hrnet_w32":         Recipe(3000, 32),
    "litehrnet_18":      Recipe(1500, 32, normal=_LITEHRNET),
    "mspn50":            Recipe(3000, 32),
    "rtmo_t":            Recipe(2400, 8, phases=_RTMO, backbone_of="yoloxpose_tiny"),
    "rtmpose_t":         Recipe(3500, 32),
    "simcc_mobilenetv2": Recipe(3000, 32),
    "yoloxpose_tiny":    Recipe(5000, 8, config=_YOLOX_POSE, phases=_NEAR_THE_JOINT),
}
# fmt: on


def recipe_of(name: str) -> Recipe:
    """The recipe of a model of the zoo; BadInputError if there is none."""
    if name not in RECIPES:
        raise BadInputError(
            f"training of {name}", "no recipe for it", ", ".join(RECIPES),
            did_you_mean(name, list(RECIPES), "Add a row to training/recipes.py."),
        )  # fmt: skip
    return RECIPES[name]
