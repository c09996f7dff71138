"""Random layers that see colors: low-pass kernels and thresholds spread over the range.

A random kernel is mostly an edge detector, and after a few of them little is left that a linear
layer could use to tell one joint's color from another's.  A random mix of channels under a
smooth kernel keeps the colors, and thresholds at many heights let a linear layer behind them
approximate any function of them (random features: Rahimi and Recht, 2007).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from posedeploy.synthetic.conditioning import Conditioning, initialize, normal

_SMOOTH = 0.85  # part of a kernel's power in the low-pass part; the rest is plain noise
_THRESHOLDS = 0.6  # standard deviation of batch-norm biases
_NEUTRAL = Conditioning(bias_shift=0.0, residual_gain=1.0)


def initialize_smooth(model: nn.Module, seed: int, input_std: float) -> None:
    """Seeded weights as `conditioning.initialize` gives, with low-pass kernels, in place.

    Args:
        model: An mmpose pose estimator.
        seed: Any non-negative integer.
        input_std: What the config divides pixels by; 1 if pixels enter as 0..255.
    """
    initialize(model, _NEUTRAL, seed, input_std)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and min(module.kernel_size) > 1:
            _smooth(module, name, seed)
        elif isinstance(module, _BatchNorm):
            bias: Any = module.bias
            bias.copy_(_THRESHOLDS * normal(f"{name}.thresholds", seed, bias.shape))


def _smooth(conv: nn.Conv2d, name: str, seed: int) -> None:
    """Replace a kernel by a mix of channels under a Gaussian window, and a little noise."""
    weight = conv.weight
    size = weight.shape[-1]
    places = torch.arange(size) - (size - 1) / 2
    window = torch.exp(-(places / (size / 3.5)).square() / 2)
    window = torch.outer(window, window)
    window /= window.norm()
    mix = normal(f"{name}.mix", seed, weight.shape[:2])
    if weight.shape[1] == 1:  # depthwise: no channel may vanish
        mix = mix.sign() * (0.7 + 0.3 * mix.abs())
    noise = normal(f"{name}.noise", seed, weight.shape) / size
    kernel = math.sqrt(_SMOOTH) * mix[..., None, None] * window + math.sqrt(1 - _SMOOTH) * noise
    # The mean power of the inputs stays what it was with `initialize`.
    weight.copy_(kernel * (weight.square().mean().sqrt() / kernel.square().mean().sqrt()))


def scale_norm(norm: Any, factor: float) -> None:
    """Make what a batch norm puts out smaller or larger, in place."""
    norm.weight.mul_(factor)
    norm.bias.mul_(factor)
