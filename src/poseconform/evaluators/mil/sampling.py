"""MIL's operators over feature maps `[N, C, H, W]`: convolution, pooling, upsampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from poseconform.evaluators.mil.arguments import flag, integer, integers, number, optional, tensor

Parameters = Mapping[str, Any]


def padding(p: Parameters) -> tuple[int, int, int, int]:
    """(left, right, top, bottom), as `functional.pad` takes it.

    MIL's `pad` is begin and end of each spatial dimension in turn; 'valid' pads nothing.
    """
    kind = str(p.get("pad_type", "valid"))
    if kind == "valid":
        return 0, 0, 0, 0
    if kind != "custom":
        raise NotImplementedError(f"pad_type {kind}; known: custom, valid")
    top, bottom, left, right = integers(p["pad"])
    return left, right, top, bottom


def _sizes(p: Parameters, name: str) -> tuple[int, ...]:
    return integers(p[name]) if name in p else (1, 1)


def conv(p: Parameters) -> Tensor:
    """2-D convolution, in groups; weight [C_out, C_in/groups, kH, kW]."""
    x = functional.pad(tensor(p["x"]), padding(p))
    groups = integer(p.get("groups", 1))
    return functional.conv2d(
        x, tensor(p["weight"]), optional(p, "bias"),
        _sizes(p, "strides"), 0, _sizes(p, "dilations"), groups,
    )  # fmt: skip


def conv_transpose(p: Parameters) -> Tensor:
    """2-D transposed convolution; weight [C_in, C_out/groups, kH, kW].  `pad` cuts the result."""
    left, right, top, bottom = padding(p)
    whole = functional.conv_transpose2d(
        tensor(p["x"]), tensor(p["weight"]), optional(p, "bias"),
        _sizes(p, "strides"), 0, 0, integer(p.get("groups", 1)), _sizes(p, "dilations"),
    )  # fmt: skip
    height, width = whole.shape[-2] - top - bottom, whole.shape[-1] - left - right
    if "output_shape" in p:  # what the strides leave open is cut at the end
        height, width = integers(p["output_shape"])[-2:]
        if top + height > whole.shape[-2] or left + width > whole.shape[-1]:
            raise NotImplementedError(f"conv_transpose to {height} x {width}, with output padding")
    return whole[..., top : top + height, left : left + width]


def _window(p: Parameters) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Kernel and stride of a pooling."""
    if flag(p, "ceil_mode"):
        raise NotImplementedError("pooling in ceil_mode")
    kernel = integers(p["kernel_sizes"])
    return kernel, integers(p["strides"]) if "strides" in p else kernel


def max_pool(p: Parameters) -> Tensor:
    """The largest; what is padded never is."""
    kernel, stride = _window(p)
    return functional.max_pool2d(
        functional.pad(tensor(p["x"]), padding(p), value=float("-inf")), kernel, stride
    )


def avg_pool(p: Parameters) -> Tensor:
    """The mean; padded places count unless `exclude_padding_from_average` says otherwise."""
    kernel, stride = _window(p)
    x, pad = tensor(p["x"]), padding(p)
    mean = functional.avg_pool2d(functional.pad(x, pad), kernel, stride)
    if not flag(p, "exclude_padding_from_average"):
        return mean
    inside = functional.pad(torch.ones_like(x[:1, :1]), pad)
    return mean / functional.avg_pool2d(inside, kernel, stride)


def upsample_nearest(p: Parameters) -> Tensor:
    """Each cell a whole number of times."""
    scales = [number(p, f"scale_factor_{side}", 1.0) for side in ("height", "width")]
    if any(scale != int(scale) for scale in scales):
        raise NotImplementedError(f"upsample_nearest_neighbor by {scales}; known: whole numbers")
    x = tensor(p["x"]).repeat_interleave(int(scales[0]), -2)
    return x.repeat_interleave(int(scales[1]), -1)


def upsample_bilinear(p: Parameters) -> Tensor:
    """Linear in both directions; corners are aligned where the operation says so."""
    x = tensor(p["x"])
    scales = [number(p, f"scale_factor_{side}", 1.0) for side in ("height", "width")]
    aligned = bool(p.get("align_corners", True))  # MIL's default
    if bool(p.get("half_pixel_centers", not aligned)) == aligned:
        raise NotImplementedError("upsample_bilinear: half_pixel_centers and align_corners alike")
    size = [round(n * scale) for n, scale in zip(x.shape[-2:], scales, strict=True)]
    return functional.interpolate(x, size, mode="bilinear", align_corners=aligned)
