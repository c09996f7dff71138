"""A model as int8 leaves it, in PyTorch: a first look at how robust weights are.

Weights are rounded channel by channel and inputs tensor by tensor, for every convolution and
linear layer, as static QDQ recipes do.  What a backend makes of a model is for the judge to say;
this needs no backend.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

_WEIGHT_STEPS = 127  # to either side of 0
_INPUT_STEPS = 255


def rounded(model: Any) -> Any:
    """A copy of a model whose layers work with 8 bits; ranges are those of each batch."""
    copied = copy.deepcopy(model)
    for layer in copied.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.weight.data = on_grid(layer.weight.data, _WEIGHT_STEPS)
            layer.register_forward_pre_hook(_round_input)
    return copied


def on_grid(weight: torch.Tensor, steps: int) -> torch.Tensor:
    """[T, ...] rounded, row by row, to this many steps to either side of 0.

    With 127, a backend that gives each output channel's weights 8 bits and a scale of their own
    finds the very weights again.
    """
    largest = weight.abs().flatten(1).amax(dim=1).clamp(min=1e-12)
    step = (largest / steps).reshape(-1, *[1] * (weight.ndim - 1))
    return torch.round(weight / step) * step


def _round_input(_layer: nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    low, high = args[0].amin().clamp(max=0), args[0].amax().clamp(min=0)
    step = (high - low) / _INPUT_STEPS + 1e-12
    return (torch.round((args[0] - low) / step) * step + low, *args[1:])
