"""SimCC on MobileNetV2: maps in every stage, with moments where cells are coarse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from posedeploy.config import ModelConfig
from posedeploy.synthetic.conditioning import last_norms
from posedeploy.synthetic.fitting.plan import Plan
from posedeploy.synthetic.fitting.randomness import scale_norm
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.vectors import fit_vectors
from posedeploy.synthetic.fitting.workbench import Stage, Workbench

_FINE = JointMaps((8.0,))
_MIDDLE = JointMaps((14.0,), moments=True)
_COARSE = JointMaps((20.0, 32.0, 48.0), moments=True)
_LAST = JointMaps((20.0, 28.0, 40.0, 56.0), moments=True)

# Block -> maps, part of the background kept, damping.
_BLOCKS: tuple[tuple[str, JointMaps, float, float], ...] = (
    ("layer2.0", _FINE, 0.1, 1e-3),
    ("layer2.1", _FINE, 0.1, 1e-3),
    ("layer3.0", _FINE, 0.3, 1e-3),
    ("layer3.1", _FINE, 0.3, 1e-3),
    ("layer3.2", _FINE, 0.3, 1e-3),
    ("layer4.0", _MIDDLE, 1.0, 1e-3),
    ("layer4.1", _MIDDLE, 1.0, 1e-3),
    ("layer4.3", _MIDDLE, 1.0, 1e-3),
    ("layer5.0", _MIDDLE, 1.0, 1e-3),
    ("layer5.2", _MIDDLE, 1.0, 1e-3),
    ("layer6.0", _COARSE, 1.0, 3e-3),
    ("layer6.1", _COARSE, 1.0, 3e-3),
    ("layer6.2", _COARSE, 1.0, 3e-3),
    ("layer7.0", _LAST, 1.0, 3e-3),
)


def _prepare(model: Any) -> None:
    for norm in last_norms(model):
        scale_norm(norm, 0.2)


def _stages(model: Any) -> Sequence[Stage]:
    stages = []
    for name, maps, keep, damping in _BLOCKS:
        path = f"backbone.{name}"
        block = model.get_submodule(path)
        last = f"{path}.conv.{len(block.conv) - 1}"
        identity = path if block.use_res_connect else ""
        stages.append(Stage(last, maps, identity=identity, keep=keep, damping=damping))
    joint_maps = JointMaps((28.0,), scale=1.0)
    return (*stages, Stage("head.final_layer", joint_maps, damping=3e-3))


def _finish(bench: Workbench, model_config: ModelConfig) -> None:
    head, split = bench.model.head, float(model_config.codec["simcc_split_ratio"])
    fit_vectors(bench, head.mlp_head_x, head.mlp_head_y, split)


PLAN = Plan(images=128, prepare=_prepare, stages=_stages, finish=_finish)
