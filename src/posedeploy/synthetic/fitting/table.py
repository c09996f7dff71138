"""Which models weights can be fitted for, and why not the others. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.zoo.table import ModelRow, config_path

# (head, backbone) -> the module of `synthetic.fitting` with its plan.
# fmt: off
PLANS: Mapping[tuple[str, str], str] = {
    ("CPMHead", "HourglassNet"): "hourglass",
    ("HeatmapHead", "HRNet"):    "hrnet",
    ("MSPNHead", "MSPN"):        "mspn",
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
    head, backbone = plan_key(config)
    return "" if (head, backbone) in PLANS else f"no plan for a {head} on a {backbone}"


def plan_key(model_config: ModelConfig) -> tuple[str, str]:
    """(head, backbone) of a config: what `PLANS` is looked up by."""
    backbone = str(model_config.config["model"]["backbone"]["type"]).rsplit(".", 1)[-1]
    return model_config.head, backbone
