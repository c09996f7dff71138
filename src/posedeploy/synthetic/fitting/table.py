"""Which models weights can be fitted for, and why not the others. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.zoo.table import ModelRow, config_path

# (head, backbone) -> the module of `synthetic.fitting` with its plan.
# fmt: off
PLANS: Mapping[tuple[str, str], str] = {
    ("CPMHead", "HourglassNet"):  "hourglass",
    ("HeatmapHead", "HRNet"):     "hrnet",
    ("HeatmapHead", "LiteHRNet"): "litehrnet",
    ("MSPNHead", "MSPN"):         "mspn",
    ("RTMCCHead", "CSPNeXt"):     "cspnext",
    ("SimCCHead", "MobileNetV2"): "mobilenetv2",
    ("YOLOXPoseHead", "CSPDarknet"): "yoloxpose",
}

# Plan -> (W, H) of the only input, in px, that it was measured at; the others take any.
INPUTS: Mapping[str, tuple[int, int]] = {
    "yoloxpose": (416, 416),
}

# What a fitted model must reach on held-out figures, PCK at 0.05.
REQUIRED_PCK: Mapping[str, float] = {
    "heatmap":    0.99,
    "simcc":      0.85,
    "yolox-pose": 0.85,
}

# Family -> why weights are not fitted for any model of it.
NOT_FITTED: Mapping[str, str] = {
    "AE":         "its tags have no fit yet",
    "CID":        "its features of a person have no fit yet",
    "DEKR":       "its displacements have no fit yet",
    "DSNT":       "the softmax over its heatmaps has no closed-form fit yet",
    "DeepPose":   "its linear layer on pooled features has no fit yet",
    "RLE":        "its linear layer on pooled features has no fit yet",
    "RTMO":       "its hybrid encoder and coordinate bins have no closed-form fit yet",
    "RTMW":       "its two levels of features have no closed-form fit yet",
    "ViPNAS":     "its backbones have no plan yet",
    "VisPredict": "its visibilities have no fit yet",
}
# fmt: on


def can_fit(model: ModelRow | ModelConfig) -> bool:
    """True if `checkpoint_for(..., kind="fitted")` makes weights for this model.

    Args:
        model: A row of the zoo, or any model config.
    """
    return not why_not(model)


def why_not(model: ModelRow | ModelConfig) -> str:
    """Why weights cannot be fitted for a model, as half a sentence; '' if they can."""
    config = load_model_config(config_path(model)) if isinstance(model, ModelRow) else model
    if plan := PLANS.get(plan_key(config)):
        size = INPUTS.get(plan, config.input_size)
        return (
            "" if config.input_size == size else "its plan is for inputs of {} x {}".format(*size)
        )
    if config.family in NOT_FITTED:
        return NOT_FITTED[config.family]
    head, backbone = plan_key(config)
    return f"no plan for a {head} on a {backbone}"


def plan_key(model_config: ModelConfig) -> tuple[str, str]:
    """(head, backbone) of a config: what `PLANS` is looked up by."""
    backbone = str(model_config.config["model"]["backbone"]["type"]).rsplit(".", 1)[-1]
    return model_config.head, backbone
