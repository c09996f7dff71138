"""LiteHRNet: fitted in its stem, at the first transition and in its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from posedeploy.synthetic.fitting.plan import Plan, heatmap
from posedeploy.synthetic.fitting.randomness import scale_norm
from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.workbench import Stage

_GATES = ("CrossResolutionWeighting", "SpatialWeighting")


def _prepare(model: Any) -> None:
    """Let the fitted maps through: depthwise kernels and gates near 1, other branches faint."""
    for name, module in model.backbone.named_modules():
        if name.startswith(("stage", "head_layer")) and _is_depthwise(module):
            module.weight.mul_(0.1)
            module.weight[:, :, 1, 1] += 1.0
        elif type(module).__name__ in _GATES:
            _open_gate(module.conv2)
        elif type(module).__name__ == "LiteHRModule" and module.fuse_layers is not None:
            _damp_upsampling(module.fuse_layers)
    for project in model.backbone.head_layer.projects[:-1]:
        scale_norm(project.pointwise_conv.bn, 0.1)


def _is_depthwise(module: Any) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.groups == module.in_channels > 1
        and module.stride == (1, 1)
    )


def _open_gate(layer: Any) -> None:
    """sigmoid(2 +- 0.2), about 0.88: the gate is there, and nearly the same for every image."""
    if layer.with_norm:
        layer.norm.weight.fill_(0.2)
        layer.norm.bias.fill_(2.0)
    else:
        layer.conv.weight.mul_(0.1)
        layer.conv.bias.fill_(2.0)


def _damp_upsampling(fuse_layers: Any) -> None:
    for index, row in enumerate(fuse_layers):
        for layer in row[index + 1 :]:
            scale_norm(layer[1], 0.1)


def _stages(model: Any) -> Sequence[Stage]:
    last = len(model.backbone.head_layer.projects) - 1
    maps = JointMaps((8.0,))
    return (
        Stage("backbone.stem.linear_conv", maps, keep=0.2),
        Stage("backbone.transition0.0.2", maps, norm="backbone.transition0.0.3", keep=0.2),
        Stage(f"backbone.head_layer.projects.{last}.pointwise_conv", maps, keep=0.3),
        heatmap(model, keep=0.3),
    )


PLAN = Plan(images=64, prepare=_prepare, stages=_stages)
