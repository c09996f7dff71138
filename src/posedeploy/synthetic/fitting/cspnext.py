"""RTMPose on CSPNeXt: maps in every stage, and a gated attention that lets them through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from posedeploy.config import ModelConfig
from posedeploy.synthetic.conditioning import normal
from posedeploy.synthetic.fitting.plan import Plan
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.vectors import fit_vectors
from posedeploy.synthetic.fitting.workbench import Stage, Workbench

# The swish behind every convolution is nearly linear above 0: moments are lifted to there.
_FINE = JointMaps((8.0,))
_MIDDLE = JointMaps((10.0,), moments=True, lift=1.0)
_COARSE = JointMaps((14.0, 22.0, 34.0), moments=True, lift=1.0)
_LAST = JointMaps((20.0, 28.0, 40.0, 56.0), moments=True, lift=1.0)
_TOKEN = JointMaps((20.0,), scale=1.0)

# Layer -> maps, part of the background kept, damping.
_LAYERS: tuple[tuple[str, JointMaps, float, float], ...] = (
    ("stage1.0", _FINE, 0.1, 1e-3),
    ("stage1.1.final_conv", _FINE, 0.15, 1e-3),
    ("stage2.0", _MIDDLE, 0.3, 1e-3),
    ("stage2.1.final_conv", _MIDDLE, 0.4, 1e-3),
    ("stage3.0", _COARSE, 1.0, 1e-3),
    ("stage3.1.final_conv", _COARSE, 1.0, 1e-3),
    ("stage4.0", _LAST, 1.0, 3e-3),
    ("stage4.1.conv2", _LAST, 1.0, 3e-3),
    ("stage4.2.final_conv", _LAST, 1.0, 3e-3),
)
_CORE = 3  # side of the part of the 7x7 kernel that is fitted; the rest would have too few rows
_REST = 0.002  # of the fitted weights' standard deviation, for the outer ring
_ATTENTION = 0.02  # of what the attention adds to those tokens' dims that carry the map


def _prepare(model: Any) -> None:
    for module in model.backbone.modules():
        if type(module).__name__ == "ChannelAttention":  # there, but mild: about 0.83
            module.fc.weight.mul_(0.2)
            module.fc.bias.fill_(2.0)


def _stages(_model: Any) -> Sequence[Stage]:
    fitted = [Stage(f"backbone.{name}", m, keep=k, damping=d) for name, m, k, d in _LAYERS]
    return (*fitted, Stage("head.final_layer", _TOKEN, damping=1e-3, core=_CORE))


def _finish(bench: Workbench, model_config: ModelConfig) -> None:
    head = bench.model.head
    _fill_outer_ring(head.final_layer)
    linear, attention = head.mlp[1], head.gau
    cells = linear.in_features
    weight = 0.1 * normal("head.mlp", 0, linear.weight.shape)
    weight[:cells] += torch.eye(cells)
    linear.weight.copy_(weight)
    attention.o.weight[:cells] *= _ATTENTION
    attention.res_scale.scale.fill_(1.0)
    split = float(model_config.codec["simcc_split_ratio"])
    fit_vectors(bench, head.cls_x, head.cls_y, split)


def _fill_outer_ring(conv: Any) -> None:
    """Small random weights where the fitted kernel is 0, so that a backend that cuts it shows."""
    noise = normal("head.final_layer.ring", 0, conv.weight.shape)
    ring = conv.weight == 0
    conv.weight[ring] = (_REST * conv.weight[~ring].std() * noise)[ring]


PLAN = Plan(images=200, prepare=_prepare, stages=_stages, finish=_finish)
