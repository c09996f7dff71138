"""MIL's operators in torch: one row an operator, only those that exported pose models hold.

A function takes the operation's parameters (constants as they are, values as tensors) and returns
a tensor or a tuple of them. A parameter that a row does not cover raises `NotImplementedError`: a
wrong number would be worse. The operators are defined in coremltools
(`coremltools.converters.mil.mil.ops.defs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from poseconform.reference.errors import HalfSumsInFloat32

Parameters = Mapping[str, Any]
Function = Callable[[Parameters], Tensor | tuple[Tensor, ...]]


def tensor(value: Any) -> Tensor:
    """A tensor of a value or of a constant."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def optional(p: Parameters, name: str) -> Tensor | None:
    """A tensor, None if the operation has no such parameter."""
    return tensor(p[name]) if name in p else None


def integers(value: Any) -> tuple[int, ...]:
    """A tuple of ints."""
    return tuple(int(v) for v in np.asarray(value).ravel())


def integer(value: Any) -> int:
    """One int."""
    return int(np.asarray(value).item())


def number(p: Parameters, name: str, default: float | None = None) -> float:
    """One float; a parameter that is left out has its default, or raises `KeyError`."""
    return default if default is not None and name not in p else float(np.asarray(p[name]).item())


def flag(p: Parameters, name: str) -> bool:
    """One bool; False where the operation leaves it out."""
    return bool(p.get(name, False))


def unary(function: Callable[[Tensor], Tensor]) -> Function:
    """An operator of one tensor."""
    return lambda p: function(tensor(p["x"]))


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Function:
    """An operator of two tensors, which broadcast."""
    return lambda p: function(tensor(p["x"]), tensor(p["y"]))


def reduction(function: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Function:
    """An operator that reduces `axes`, all of them where none is named."""

    def reduce(p: Parameters) -> Tensor:
        x = tensor(p["x"])
        axes = integers(p["axes"]) if "axes" in p else tuple(range(x.dim()))
        return function(x, axes, flag(p, "keep_dims"))

    return reduce


def summing(function: Callable[[Parameters], Tensor]) -> Function:
    """An operator that sums products of float16 in float32 and rounds once, as CoreML's units."""

    def run(p: Parameters) -> Tensor:
        with HalfSumsInFloat32():
            return function(p)

    return run


def batch_norm(p: Parameters) -> Tensor:
    """Over axis 1, with the statistics of training."""
    names = ("mean", "variance", "gamma", "beta")
    mean, variance, gamma, beta = (optional(p, name) for name in names)
    epsilon = number(p, "epsilon", 1e-5)
    return functional.batch_norm(tensor(p["x"]), mean, variance, gamma, beta, eps=epsilon)


def layer_norm(p: Parameters) -> Tensor:
    """Over the last dimensions."""
    x, axes = tensor(p["x"]), integers(p["axes"])
    last = tuple(range(x.dim() - len(axes), x.dim()))
    if tuple(sorted(axis % x.dim() for axis in axes)) != last:
        raise NotImplementedError(f"layer_norm over axes {axes}; known: the last ones")
    shape = [x.shape[axis] for axis in last]
    gamma, beta = optional(p, "gamma"), optional(p, "beta")
    return functional.layer_norm(x, shape, gamma, beta, number(p, "epsilon", 1e-5))


def gelu(p: Parameters) -> Tensor:
    """Exact, or by the hyperbolic tangent."""
    modes = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    mode = str(p.get("mode", "EXACT"))
    if mode not in modes:
        raise NotImplementedError(f"gelu in mode {mode}; known: {', '.join(modes)}")
    return functional.gelu(tensor(p["x"]), approximate=modes[mode])


def concat(p: Parameters) -> Tensor:
    """One after the other, or in turns (`interleave`) as a channel shuffle needs it."""
    parts, axis = [tensor(v) for v in p["values"]], integer(p["axis"])
    joined = torch.cat(parts, axis)
    if not flag(p, "interleave"):
        return joined
    return torch.stack(parts, axis % joined.dim() + 1).reshape(joined.shape)


def split(p: Parameters) -> tuple[Tensor, ...]:
    """Into parts of `split_sizes`, or into `num_splits` equal ones."""
    x, axis = tensor(p["x"]), integer(p["axis"])
    if "split_sizes" in p:
        return torch.split(x, list(integers(p["split_sizes"])), axis)
    return torch.split(x, x.shape[axis] // integer(p["num_splits"]), axis)


def slice_by_index(p: Parameters) -> Tensor:
    """`x[begin:end:stride]`; masks stand for 'from the first', 'to the last' and 'just this'."""
    x, begin, end = tensor(p["x"]), integers(p["begin"]), integers(p["end"])
    stride = integers(p.get("stride", np.ones(len(begin))))
    if min(stride) < 0:
        raise NotImplementedError(f"slice_by_index with stride {stride}")
    names = ("begin_mask", "end_mask", "squeeze_mask")
    masks = [integers(p.get(name, np.zeros(len(begin)))) for name in names]
    items: list[int | slice] = []
    for first, last, step, *mask in zip(begin, end, stride, *masks, strict=True):
        from_first, to_last, just_one = mask
        span = slice(None if from_first else first, None if to_last else last, step)
        items.append(first if just_one else span)
    return x[tuple(items)]


def expand_dims(p: Parameters) -> Tensor:
    """New dimensions of size 1, at places in the result."""
    x = tensor(p["x"])
    rank = x.dim() + len(integers(p["axes"]))
    for axis in sorted(axis % rank for axis in integers(p["axes"])):
        x = x.unsqueeze(axis)
    return x


def squeeze(p: Parameters) -> Tensor:
    """Without the dimensions of size 1 that are named, or without any."""
    x = tensor(p["x"])
    return x.squeeze(integers(p["axes"])) if "axes" in p else x.squeeze()


def matmul(p: Parameters) -> Tensor:
    """Matrices are the last two dimensions."""
    x, y = tensor(p["x"]), tensor(p["y"])
    x = x.mT if flag(p, "transpose_x") else x
    return x @ (y.mT if flag(p, "transpose_y") else y)


def cast(p: Parameters) -> Tensor:
    """To another element type, by its name in MIL."""
    types = {
        "bool": torch.bool, "fp16": torch.float16, "fp32": torch.float32, "int32": torch.int32,
    }  # fmt: skip
    name = str(p["dtype"])
    if name not in types:
        raise NotImplementedError(f"cast to {name}; known: {', '.join(types)}")
    return tensor(p["x"]).to(types[name])


def sigmoid_hard(p: Parameters) -> Tensor:
    """`min(max(alpha * x + beta, 0), 1)`; 0.2 and 0.5 where they are left out."""
    x = tensor(p["x"])
    return (number(p, "alpha", 0.2) * x + number(p, "beta", 0.5)).clamp(0.0, 1.0)


def padding(p: Parameters) -> tuple[int, int, int, int]:
    """(left, right, top, bottom) of maps `[N, C, H, W]`; MIL's `pad` is top, bottom, left, right.

    'valid' pads nothing.
    """
    kind = str(p.get("pad_type", "valid"))
    if kind == "valid":
        return 0, 0, 0, 0
    if kind != "custom":
        raise NotImplementedError(f"pad_type {kind}; known: custom, valid")
    top, bottom, left, right = integers(p["pad"])
    return left, right, top, bottom


def conv(p: Parameters) -> Tensor:
    """2-D convolution, in groups; weight [C_out, C_in/groups, kH, kW]."""
    x = functional.pad(tensor(p["x"]), padding(p))
    strides, dilations = (integers(p.get(name, (1, 1))) for name in ("strides", "dilations"))
    return functional.conv2d(
        x, tensor(p["weight"]), optional(p, "bias"),
        strides, 0, dilations, integer(p.get("groups", 1)),
    )  # fmt: skip


def conv_transpose(p: Parameters) -> Tensor:
    """2-D transposed convolution; weight [C_in, C_out/groups, kH, kW].  `pad` cuts the result."""
    left, right, top, bottom = padding(p)
    strides, dilations = (integers(p.get(name, (1, 1))) for name in ("strides", "dilations"))
    whole = functional.conv_transpose2d(
        tensor(p["x"]), tensor(p["weight"]), optional(p, "bias"),
        strides, 0, 0, integer(p.get("groups", 1)), dilations,
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
    return kernel, integers(p.get("strides", kernel))


def max_pool(p: Parameters) -> Tensor:
    """The largest; what is padded never is."""
    kernel, stride = _window(p)
    return functional.max_pool2d(
        functional.pad(tensor(p["x"]), padding(p), value=float("-inf")), kernel, stride
    )


def avg_pool(p: Parameters) -> Tensor:
    """The mean; padding counts unless `exclude_padding_from_average` is set."""
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
    """Linear in both directions; corners are aligned if `align_corners` is set."""
    x = tensor(p["x"])
    scales = [number(p, f"scale_factor_{side}", 1.0) for side in ("height", "width")]
    aligned = bool(p.get("align_corners", True))  # MIL's default
    if bool(p.get("half_pixel_centers", not aligned)) == aligned:
        raise NotImplementedError("upsample_bilinear: half_pixel_centers and align_corners alike")
    size = [round(n * scale) for n, scale in zip(x.shape[-2:], scales, strict=True)]
    return functional.interpolate(x, size, mode="bilinear", align_corners=aligned)


# ---- modify this table to add an operator --------------------------------------------------
# fmt: off
OPERATORS: Mapping[str, Function] = {
    "abs":                       unary(torch.abs),
    "add":                       binary(torch.add),
    "avg_pool":                  avg_pool,
    "batch_norm":                batch_norm,
    "cast":                      cast,
    "clip":                      lambda p: tensor(p["x"]).clamp(
        number(p, "alpha"), number(p, "beta")),
    "concat":                    concat,
    "conv":                      summing(conv),
    "conv_transpose":            summing(conv_transpose),
    "cos":                       unary(torch.cos),
    "exp":                       unary(torch.exp),
    "expand_dims":               expand_dims,
    "floor":                     unary(torch.floor),
    "gather_along_axis":         lambda p: tensor(p["x"]).gather(
        integer(p["axis"]), tensor(p["indices"]).long()),
    "gelu":                      gelu,
    "greater":                   binary(torch.gt),
    "layer_norm":                layer_norm,
    "less":                      binary(torch.lt),
    "linear":                    summing(lambda p: functional.linear(
        tensor(p["x"]), tensor(p["weight"]), optional(p, "bias"))),
    "matmul":                    summing(matmul),
    "max_pool":                  max_pool,
    "maximum":                   binary(torch.maximum),
    "minimum":                   binary(torch.minimum),
    "mul":                       binary(torch.mul),
    "real_div":                  binary(torch.div),
    "reduce_argmax":             lambda p: tensor(p["x"]).argmax(
        integer(p["axis"]), flag(p, "keep_dims")).to(torch.int32),
    "reduce_l2_norm":            reduction(lambda x, axes, keep: x.norm(dim=axes, keepdim=keep)),
    "reduce_max":                reduction(lambda x, axes, keep: x.amax(axes, keep)),
    "reduce_mean":               reduction(lambda x, axes, keep: x.mean(axes, keep)),
    "reduce_sum":                reduction(lambda x, axes, keep: x.sum(axes, keep)),
    "relu":                      unary(torch.relu),
    "reshape":                   lambda p: tensor(p["x"]).reshape(integers(p["shape"])),
    "sigmoid":                   unary(torch.sigmoid),
    "sigmoid_hard":              sigmoid_hard,
    "sign":                      unary(torch.sign),
    "silu":                      unary(functional.silu),
    "sin":                       unary(torch.sin),
    "slice_by_index":            slice_by_index,
    "softmax":                   lambda p: tensor(p["x"]).softmax(integer(p.get("axis", -1))),
    "split":                     split,
    "sqrt":                      unary(torch.sqrt),
    "square":                    unary(torch.square),
    "squeeze":                   squeeze,
    "stack":                     lambda p: torch.stack(
        [tensor(v) for v in p["values"]], integer(p["axis"])),
    "sub":                       binary(torch.sub),
    "transpose":                 lambda p: tensor(p["x"]).permute(integers(p["perm"])),
    "upsample_bilinear":         upsample_bilinear,
    "upsample_nearest_neighbor": upsample_nearest,
}
# fmt: on
# ---------------------------------------------------------------------------------------------
