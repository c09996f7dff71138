"""Well-conditioned random weights: seeded, with small residual branches.

With He initialization (He et al., 2015, https://arxiv.org/abs/1502.01852) alone, deep networks
amplify rounding until a 16-bit or int8 run of a correct backend is noise. Two settings for each
kind of backbone prevent it: a shift of every batch norm's bias, which keeps most activations in
the linear part of the non-linearity, and a gain below 1 for the last batch norm of a residual
block.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


@dataclass(frozen=True)
class Conditioning:
    """How the batch norms of a model are set before calibration."""

    bias_shift: float  # added to every bias, in standard deviations of the norm's output
    residual_gain: float  # multiplies the weight of the last norm of each residual block


# Backbone type -> its settings: the smallest shift that limits the amplification of rounding (with
# a larger one the network ignores the image). `posedeploy.synthetic.admission` measures both.
# fmt: off
CONDITIONING: Mapping[str, Conditioning] = {
    "CSPDarknet":   Conditioning(1.0, 0.3),   # YOLOX-Pose, RTMO
    "CSPNeXt":      Conditioning(0.5, 0.3),   # RTMPose
    "HRNet":        Conditioning(0.0, 0.3),
    "HourglassNet": Conditioning(0.25, 0.3),
    "LiteHRNet":    Conditioning(0.75, 1.0),  # without residual blocks
    "MSPN":         Conditioning(1.0, 0.3),
    "MobileNetV2":  Conditioning(0.5, 0.3),
    "ResNet":       Conditioning(0.0, 0.3),
    "ViPNAS_MobileNetV3": Conditioning(0.5, 0.3),
}
OTHER = Conditioning(0.5, 0.3)  # for other backbones: the median of the table

# Residual block -> the attributes that declare a shortcut; without any, all blocks have one.
RESIDUAL_BLOCKS: Mapping[str, tuple[str, ...]] = {
    "BasicBlock":        (),                                        # ResNet, HRNet, Hourglass
    "Bottleneck":        (),                                        # ResNet, HRNet, MSPN
    "CSPNeXtBlock":      ("add_identity",),                         # RTMPose
    "DarknetBottleneck": ("add_identity",),                         # YOLOX-Pose, RTMO
    "InvertedResidual":  ("use_res_connect", "with_res_shortcut"),  # MobileNetV2, V3
}
# fmt: on
_GAIN = {_ConvNd: 2.0, nn.Linear: 1.0}  # variance gain: 2 before a rectifier, 1 elsewhere
_BIAS_STD = 0.02
_STEM_DIVISOR = 16.0  # of the first weights for pixel values of 0..255, whose deviation is 64


def initialize(model: nn.Module, conditioning: Conditioning, seed: int, input_std: float) -> None:
    """Give every convolution, linear layer and norm of a model seeded weights, in place.

    A tensor's values depend on the seed (0 or more) and its name only, so that adding a layer does
    not change the others. Batch-norm statistics are set by calibration. `input_std` is the divisor
    of pixel values in the config; 1 if inputs are 0..255.
    """
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, _ConvNd | nn.Linear):
                _initialize_weights(module, name, seed)
            elif isinstance(module, _BatchNorm | nn.LayerNorm | nn.GroupNorm):
                shift = conditioning.bias_shift if isinstance(module, _BatchNorm) else 0.0
                _initialize_norm(module, name, seed, shift)
        for norm in last_norms(model):
            norm.weight.mul_(conditioning.residual_gain)
        # with inputs of 0..255, running variances would exceed float16's largest number, and with
        # a larger divisor the weights would lie below its normal range
        first = next(module for module in model.modules() if isinstance(module, _ConvNd))
        first.weight.mul_(input_std / _STEM_DIVISOR)


def last_norms(model: nn.Module) -> Iterator[_BatchNorm]:
    """The last batch norm on the residual branch of each block in `RESIDUAL_BLOCKS`."""
    for block in model.modules():
        flags = RESIDUAL_BLOCKS.get(type(block).__name__)
        if flags is None or (flags and not any(getattr(block, flag, False) for flag in flags)):
            continue
        norms = [
            module
            for name, module in block.named_modules()
            if isinstance(module, _BatchNorm) and not name.startswith("downsample")
        ]
        yield norms[-1]


def _initialize_weights(module: _ConvNd | nn.Linear, name: str, seed: int) -> None:
    weight = module.weight
    fan_in = float(weight[0].numel())
    if isinstance(module, _ConvTransposeNd):  # [in, out, kH, kW]; an output reads 1/stride of it
        fan_in = weight[:, 0].numel() / math.prod(module.stride)
    gain = next(gain for kind, gain in _GAIN.items() if isinstance(module, kind))
    weight.copy_(normal(f"{name}.weight", seed, weight.shape) * math.sqrt(gain / fan_in))
    if module.bias is not None:
        module.bias.copy_(normal(f"{name}.bias", seed, module.bias.shape) * _BIAS_STD)


def _initialize_norm(module: nn.Module, name: str, seed: int, shift: float) -> None:
    weight, bias = module.weight, module.bias
    if isinstance(weight, torch.Tensor):
        weight.copy_(1 + 0.06 * normal(f"{name}.weight", seed, weight.shape))
    if isinstance(bias, torch.Tensor):
        bias.copy_(shift + 0.1 * normal(f"{name}.bias", seed, bias.shape))


def normal(name: str, seed: int, shape: torch.Size) -> torch.Tensor:
    """Standard normal float32, from numpy, whose generators are equal on every platform."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy(rng.standard_normal(tuple(shape), dtype=np.float32))


def uniform(name: str, seed: int, shape: torch.Size) -> torch.Tensor:
    """Float32 uniform in 0..1, from numpy, whose generators are equal on every platform."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return torch.from_numpy(rng.random(tuple(shape), dtype=np.float32))
