"""Stacked hourglasses: fitted in the stem, in a block past the hourglass, and in the head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posedeploy.synthetic.conditioning import last_norms
from posedeploy.synthetic.fitting.plan import Plan, boost, heatmap
from posedeploy.synthetic.fitting.randomness import scale_norm
from posedeploy.synthetic.fitting.targets import JOINT_COUNT, JointMaps
from posedeploy.synthetic.fitting.workbench import Stage

_MAPS = JointMaps(8.0)


def _prepare(model: Any) -> None:
    for norm in last_norms(model):
        scale_norm(norm, 0.2)
    entrance = model.backbone.stem[1][0]
    scale_norm(entrance.norm2, 5.0)  # fitted: its own size, no shortcut beside it
    shortcut = entrance.downsample[1]
    shortcut.weight[:JOINT_COUNT] = 0
    shortcut.bias[:JOINT_COUNT] = 0
    for module in model.backbone.hourglass_modules.modules():  # what comes up from below
        if type(module).__name__ == "HourglassModule" and module.low3[-1].downsample is not None:
            scale_norm(module.low3[-1].downsample[1], 0.3)


def _stages(model: Any) -> Sequence[Stage]:
    start, last = "backbone.stem.1.0", len(model.backbone.hourglass_modules) - 1
    heads = len(model.head.multi_final_layers) - 1
    return (
        Stage(f"{start}.conv2", _MAPS, norm=f"{start}.bn2", keep=0.08),
        boost(f"backbone.hourglass_modules.{last}.up1.0", _MAPS, keep=0.05),
        heatmap(model, f"head.multi_final_layers.{heads}", keep=0.5),
    )


PLAN = Plan(images=32, prepare=_prepare, stages=_stages)
