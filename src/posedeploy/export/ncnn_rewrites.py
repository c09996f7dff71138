"""What ncnn lacks, rewritten into what it has, on the way to pnnx.

| construct | in ncnn | here |
|---|---|---|
| `x[..., ::2, ::2]` (Focus of CSPDarknet) | `Tensor.slice`, unknown | a one-hot 2x2 convolution |
| `torch.linalg.norm` | unknown | `sqrt(sum(x * x))` |
| query, key and value as one tensor of 5 axes (ViTPose) | 4 axes | `nn.MultiheadAttention` |

mmpose is not patched: modules are replaced in a copy, functions while tracing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.export.module import (
    ExportableModule,
    Replacements,
    replace_modules,
    sharing_copy,
)
from posedeploy.export.tracing import Replacing, static_shapes


class ConvolutionalFocus(nn.Module):
    """CSPDarknet's `Focus` without slices: each output channel picks one pixel of a 2x2 block.

    The kernel is one 1 among zeros, so the result is exact. The module's own convolution follows.
    """

    kernel: Tensor

    def __init__(self, focus: Any) -> None:
        super().__init__()
        kernel = torch.zeros(12, 3, 2, 2)
        # the order in which `Focus` stacks the pixels of a 2x2 block
        for corner, (row, column) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
            for channel in range(3):
                kernel[corner * 3 + channel, channel, row, column] = 1.0
        self.register_buffer("kernel", kernel)
        self.conv = focus.conv

    def forward(self, x: Tensor) -> Tensor:
        """Image [N, 3, H, W] → features [N, C, H/2, W/2]."""
        picked = nn.functional.conv2d(x, self.kernel, stride=2)
        features: Tensor = self.conv(picked)
        return features


class PlainAttention(nn.Module):
    """mmpretrain's `MultiheadAttention` as torch's, which is a layer of ncnn's."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        joined = original.qkv
        self.attention = nn.MultiheadAttention(
            original.embed_dims, original.num_heads, bias=joined.bias is not None, batch_first=True
        )
        self.attention.in_proj_weight, self.attention.in_proj_bias = joined.weight, joined.bias
        self.attention.out_proj.weight = original.proj.weight
        self.attention.out_proj.bias = original.proj.bias
        self.scale = original.gamma1

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [N, L, C] → attended tokens [N, L, C]."""
        attended: Tensor = self.scale(self.attention(x, x, x, need_weights=False)[0])
        return attended


def _plain_attention(original: Any) -> nn.Module:
    """What torch's attention cannot be, a shortcut or another size of its input, stays."""
    as_torch = original.input_dims == original.embed_dims and not original.v_shortcut
    return PlainAttention(original) if as_torch else original


_REPLACED: Replacements = {
    "mmdet.models.backbones.csp_darknet.Focus": ConvolutionalFocus,
    "mmpose.models.backbones.csp_darknet.Focus": ConvolutionalFocus,
    "mmpretrain.models.utils.attention.MultiheadAttention": _plain_attention,
}


def with_ncnn_modules(module: ExportableModule) -> ExportableModule:
    """The module with what ncnn lacks replaced, in a copy that shares its weights."""
    network = replace_modules(sharing_copy(module.network), _REPLACED)
    return dataclasses.replace(module, network=network.eval().requires_grad_(False))


def _linalg_norm(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The 2-norm over one dimension in operators that ncnn has; other norms unchanged."""
    arguments = dict(zip(("ord", "dim", "keepdim"), args, strict=False)) | kwargs
    dim, keepdim = arguments.get("dim"), bool(arguments.get("keepdim", False))
    if arguments.get("ord") in {None, 2} and isinstance(dim, int) and "dtype" not in arguments:
        return (x * x).sum(dim, keepdim=keepdim).sqrt()
    result: Tensor = torch.linalg.norm(x, *args, **kwargs)
    return result


@contextmanager
def ncnn_operators() -> Iterator[None]:
    """Trace in this context: constant shapes, and no operator that the table above names."""
    with static_shapes(), Replacing({torch.linalg.norm: _linalg_norm}):
        yield
