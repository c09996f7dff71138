"""HRNet: fitted where the high-resolution branch begins, and in a few of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posedeploy.synthetic.conditioning import last_norms
from posedeploy.synthetic.fitting.plan import Plan, boost, heatmap
from posedeploy.synthetic.fitting.randomness import scale_norm
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.workbench import Stage

_MAPS = JointMaps(8.0)
_BOOSTED = (  # blocks of the first branch that refine the maps
    "stage2.0.branches.0.0",
    "stage2.0.branches.0.1",
    "stage2.0.branches.0.3",
    "stage3.1.branches.0.0",
    "stage4.2.branches.0.3",
)


def _prepare(model: Any) -> None:
    for norm in last_norms(model):
        scale_norm(norm, 0.2)
    for block in model.backbone.layer1:  # the colors that everything is fitted to come from here
        scale_norm(block.norm3, 1.5)
    for module in model.modules():
        if type(module).__name__ == "HRModule":
            for index, row in enumerate(module.fuse_layers):
                for upsampling in row[index + 1 :]:
                    scale_norm(upsampling[1], 0.2)


def _stages(model: Any) -> Sequence[Stage]:
    start = "backbone.transition1.0"
    return (
        Stage(f"{start}.0", _MAPS, norm=f"{start}.1", keep=0.1),
        *(boost(f"backbone.{block}", _MAPS, keep=0.2) for block in _BOOSTED),
        heatmap(model, keep=0.5),
    )


PLAN = Plan(images=40, prepare=_prepare, stages=_stages)
