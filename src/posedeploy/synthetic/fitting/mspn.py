"""MSPN: in every stage the skip into the finest unit is fitted, and what it hands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posedeploy.synthetic.conditioning import last_norms
from posedeploy.synthetic.fitting.plan import Plan, heatmap
from posedeploy.synthetic.fitting.randomness import scale_norm
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.workbench import Stage

_MAPS = JointMaps(8.0)


def _prepare(model: Any) -> None:
    for norm in last_norms(model):
        scale_norm(norm, 0.3)
    for stage in model.backbone.multi_stage_mspn:
        scale_norm(stage.upsample.up4.up_conv.bn, 0.2)


def _stages(model: Any) -> Sequence[Stage]:
    stages: list[Stage] = []
    for index, stage in enumerate(model.backbone.multi_stage_mspn):
        unit = f"backbone.multi_stage_mspn.{index}.upsample.up4"
        stages.append(Stage(f"{unit}.in_skip", _MAPS, keep=0.3))
        if hasattr(stage.upsample.up4, "cross_conv"):
            stages.append(Stage(f"{unit}.cross_conv", _MAPS, keep=0.3))
    last = f"head.predict_layers.{len(model.head.predict_layers) - 1}.conv_layers"
    return (
        *stages,
        Stage(f"{last}.0", _MAPS, keep=0.3),
        heatmap(model, f"{last}.1", keep=0.08, damping=1e-3),
    )


PLAN = Plan(images=40, prepare=_prepare, stages=_stages)
