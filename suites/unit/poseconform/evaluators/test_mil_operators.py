"""Every operator of the MIL interpreter against a value worked out another way."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from poseconform.evaluators.mil.operators import OPERATORS

X = torch.linspace(-2, 3, 24).reshape(1, 2, 3, 4)
Y = X.cos()
POSITIVE = X.abs() + 0.1
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = torch.randn(1, 4, 6, 5, generator=GENERATOR)
WEIGHT = torch.randn(6, 2, 3, 3, generator=GENERATOR)
UP = torch.randn(4, 3, 4, 4, generator=GENERATOR)
BIAS = torch.randn(6, generator=GENERATOR)
MEANS = torch.tensor([0.5, -1.0])
VARIANCES = torch.tensor([2.0, 0.5])
I = np.int32  # noqa: E741 - what MIL's integers are


def each(function: Any) -> torch.Tensor:
    """A function of one float applied to every value of X, without torch."""
    flat = [function(v) for v in X.flatten().tolist()]
    return torch.tensor(flat, dtype=torch.float32).reshape(X.shape)


def sigmoid(v: float) -> float:
    return 1 / (1 + math.exp(-v))


def padded_mean(counting: bool) -> torch.Tensor:
    """A 2x2 mean with a border of one at the top and left, by hand."""
    tall = torch.zeros(1, 1, 3, 3)
    tall[..., 1:, 1:] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    sums = tall.unfold(2, 2, 1).unfold(3, 2, 1).sum((-1, -2))
    return sums / 4 if counting else sums / torch.tensor([[1.0, 2.0], [2.0, 4.0]])


SMALL = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
PAD = {"pad_type": "custom", "pad": np.array([1, 0, 1, 0], I)}
NORMALIZED = (X - MEANS[:, None, None]) / (VARIANCES[:, None, None] + 1e-3).sqrt()
CASES: list[tuple[str, dict[str, Any], Any]] = [
    ("abs", {"x": X}, each(lambda v: max(v, -v))),
    ("add", {"x": X, "y": Y}, X + Y),
    ("add", {"x": X, "y": np.float32(1.5)}, X + 1.5),
    (
        "avg_pool",
        {"x": SMALL, "kernel_sizes": [2, 2], "strides": [1, 1], **PAD},
        padded_mean(True),
    ),
    (
        "avg_pool",
        {
            "x": SMALL, "kernel_sizes": [2, 2], "strides": [1, 1], **PAD,
            "exclude_padding_from_average": True,
        },
        padded_mean(False),
    ),
    ("batch_norm", {"x": X, "mean": MEANS, "variance": VARIANCES, "epsilon": 1e-3}, NORMALIZED),
    (
        "batch_norm",
        {
            "x": X, "mean": MEANS, "variance": VARIANCES, "epsilon": 1e-3,
            "gamma": MEANS, "beta": VARIANCES,
        },
        NORMALIZED * MEANS[:, None, None] + VARIANCES[:, None, None],
    ),
    ("cast", {"x": X, "dtype": "int32"}, X.int()),
    ("cast", {"x": X, "dtype": "fp16"}, X.half()),
    ("clip", {"x": X, "alpha": 0.0, "beta": 1.0}, each(lambda v: min(max(v, 0.0), 1.0))),
    ("concat", {"values": [X, Y], "axis": 1}, torch.cat((X, Y), 1)),
    (
        "concat",
        {"values": [X, Y], "axis": -3, "interleave": True},
        torch.cat([t[:, i : i + 1] for i in range(2) for t in (X, Y)], 1),
    ),
    (
        "conv",
        {
            "x": IMAGE, "weight": WEIGHT.numpy(), "bias": BIAS.numpy(), "groups": I(2),
            "strides": np.array([2, 1], I), "dilations": np.array([1, 2], I),
            "pad_type": "custom", "pad": np.array([1, 0, 2, 1], I),
        },
        functional.conv2d(
            functional.pad(IMAGE, (2, 1, 1, 0)), WEIGHT, BIAS, (2, 1), 0, (1, 2), 2
        ),
    ),
    ("conv", {"x": IMAGE, "weight": WEIGHT, "groups": 2}, functional.conv2d(
        IMAGE, WEIGHT, groups=2)),
    (
        "conv_transpose",
        {"x": IMAGE, "weight": UP, "strides": [2, 2], "pad_type": "custom", "pad": [1, 1, 1, 1]},
        functional.conv_transpose2d(IMAGE, UP, stride=2, padding=1),
    ),
    (
        "conv_transpose",
        {
            "x": IMAGE, "weight": UP, "strides": [2, 2], "pad_type": "custom",
            "pad": [1, 1, 1, 1], "output_shape": [1, 3, 12, 10],
        },
        functional.conv_transpose2d(IMAGE, UP, stride=2, padding=1),
    ),
    ("cos", {"x": X}, each(math.cos)),
    ("exp", {"x": X}, each(math.exp)),
    ("expand_dims", {"x": X, "axes": np.array([-1, 1], I)}, X[:, None, ..., None]),
    ("gelu", {"x": X, "mode": "EXACT"}, each(lambda v: v * (1 + math.erf(v / 2**0.5)) / 2)),
    (
        "gelu",
        {"x": X, "mode": "TANH_APPROXIMATION"},
        each(lambda v: v * (1 + math.tanh((2 / math.pi) ** 0.5 * (v + 0.044715 * v**3))) / 2),
    ),
    (
        "layer_norm",
        {"x": X, "axes": [-1], "epsilon": 1e-3},
        (X - X.mean(-1, True)) / (X.var(-1, unbiased=False, keepdim=True) + 1e-3).sqrt(),
    ),
    (
        "linear",
        {"x": X, "weight": Y[0, 0].numpy(), "bias": np.array([1, 2, 3], np.float32)},
        torch.einsum("abci,oi->abco", X, Y[0, 0]) + torch.tensor([1.0, 2.0, 3.0]),
    ),
    (
        "matmul",
        {"x": X, "y": Y, "transpose_y": True},
        torch.einsum("abij,abkj->abik", X, Y),
    ),
    (
        "matmul",
        {"x": X, "y": Y, "transpose_x": True},
        torch.einsum("abji,abjk->abik", X, Y),
    ),
    (
        "max_pool",
        {"x": -SMALL, "kernel_sizes": [2, 2], "strides": [1, 1], **PAD},
        torch.tensor([[-1.0, -1.0], [-1.0, -1.0]])[None, None],
    ),
    (
        "max_pool",
        {"x": X, "kernel_sizes": [3, 2]},
        X.unfold(2, 3, 3).unfold(3, 2, 2).amax((-1, -2)),
    ),
    ("maximum", {"x": X, "y": Y}, torch.where(X > Y, X, Y)),
    ("minimum", {"x": X, "y": Y}, torch.where(X < Y, X, Y)),
    ("floor", {"x": X}, each(lambda v: float(math.floor(v)))),
    (
        "gather_along_axis",
        {"x": X, "axis": -1, "indices": np.full((1, 2, 3, 1), 2, np.int32)},
        X[..., 2:3],
    ),
    ("greater", {"x": X, "y": Y}, (X - Y).sign() == 1),
    ("less", {"x": X, "y": Y}, (X - Y).sign() == -1),
    ("sign", {"x": X}, each(lambda v: (v > 0) - (v < 0.0))),
    (
        "reduce_argmax",
        {"x": X, "axis": -1, "keep_dims": False},
        X.topk(1).indices[..., 0].int(),
    ),
    ("mul", {"x": X, "y": Y}, X * Y),
    ("real_div", {"x": X, "y": POSITIVE}, X / POSITIVE),
    (
        "reduce_l2_norm",
        {"x": X, "axes": [-1], "keep_dims": True},
        (X * X).sum(-1, True).sqrt(),
    ),
    ("reduce_max", {"x": X, "axes": [1, 2]}, X.flatten(1, 2).max(1).values),
    ("reduce_mean", {"x": X, "axes": [2, 3], "keep_dims": True}, X.sum((2, 3), True) / 12),
    ("reduce_sum", {"x": X}, torch.tensor(sum(X.flatten().tolist()))),
    ("relu", {"x": X}, each(lambda v: max(v, 0.0))),
    ("reshape", {"x": X, "shape": np.array([2, -1], I)}, X.reshape(2, 12)),
    ("sigmoid", {"x": X}, each(sigmoid)),
    (
        "sigmoid_hard",
        {"x": X, "alpha": np.float32(1 / 6), "beta": 0.5},
        each(lambda v: min(max(v / 6 + 0.5, 0.0), 1.0)),
    ),
    ("sigmoid_hard", {"x": X}, each(lambda v: min(max(0.2 * v + 0.5, 0.0), 1.0))),
    ("silu", {"x": X}, each(lambda v: v * sigmoid(v))),
    ("sin", {"x": X}, each(math.sin)),
    (
        "slice_by_index",
        {
            "x": X, "begin": [0, 1, 0, 0], "end": [1, 0, 0, 3], "stride": [1, 1, 2, 2],
            "begin_mask": [True, False, False, False], "end_mask": [True, False, True, False],
            "squeeze_mask": [False, True, False, False],
        },
        X[:, 1, ::2, 0:3:2],
    ),
    (
        "slice_by_index",
        {"x": X, "begin": [0, 0, 1, 0], "end": [1, 2, -1, 4]},
        X[:, :, 1:-1],
    ),
    ("softmax", {"x": X, "axis": 1}, X.exp() / X.exp().sum(1, True)),
    ("softmax", {"x": X}, X.exp() / X.exp().sum(-1, True)),
    ("split", {"x": X, "split_sizes": [1, 3], "axis": -1}, (X[..., :1], X[..., 1:])),
    ("split", {"x": X, "num_splits": I(2), "axis": 3}, (X[..., :2], X[..., 2:])),
    ("sqrt", {"x": POSITIVE}, POSITIVE**0.5),
    ("square", {"x": X}, X * X),
    ("squeeze", {"x": X, "axes": [0]}, X[0]),
    ("squeeze", {"x": X[:, :1]}, X[0, 0]),
    ("stack", {"values": [X, Y], "axis": 0}, torch.cat((X[None], Y[None]))),
    ("sub", {"x": X, "y": Y}, X - Y),
    ("transpose", {"x": X, "perm": [0, 2, 3, 1]}, torch.einsum("abcd->acdb", X)),
    (
        "upsample_bilinear",
        {
            "x": SMALL, "scale_factor_height": 1.5, "scale_factor_width": 1.5,
            "align_corners": True,
        },
        torch.tensor([[1.0, 1.5, 2.0], [2.0, 2.5, 3.0], [3.0, 3.5, 4.0]])[None, None],
    ),
    (
        "upsample_bilinear",
        {"x": SMALL, "scale_factor_width": np.float32(2.0), "align_corners": False},
        torch.tensor([[1.0, 1.25, 1.75, 2.0], [3.0, 3.25, 3.75, 4.0]])[None, None],
    ),
    (
        "upsample_nearest_neighbor",
        {"x": SMALL, "scale_factor_height": 2.0, "scale_factor_width": 1.0},
        torch.tensor([[1.0, 2.0], [1.0, 2.0], [3.0, 4.0], [3.0, 4.0]])[None, None],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "parameters", "expected"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_an_operator_computes_what_it_is_defined_to(
    kind: str, parameters: dict[str, Any], expected: Any
) -> None:
    found = OPERATORS[kind](parameters)
    pairs = [(found, expected)] if isinstance(found, torch.Tensor) else zip(
        found, expected, strict=True)  # fmt: skip
    for ours, truth in pairs:
        assert ours.dtype == truth.dtype
        torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-5)


def test_every_operator_has_a_case() -> None:
    assert {case[0] for case in CASES} == set(OPERATORS)
    assert list(OPERATORS) == sorted(OPERATORS)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("cast", {"x": X, "dtype": "int8"}, "cast to int8"),
        ("conv", {"x": IMAGE, "weight": WEIGHT, "pad_type": "same"}, "pad_type same"),
        (
            "conv_transpose",
            {"x": IMAGE, "weight": UP, "strides": [2, 2], "output_shape": [1, 3, 15, 12]},
            "output padding",
        ),
        ("gelu", {"x": X, "mode": "SIGMOID_APPROXIMATION"}, "gelu in mode SIGMOID"),
        ("layer_norm", {"x": X, "axes": [1]}, "layer_norm over axes"),
        ("max_pool", {"x": X, "kernel_sizes": [2, 2], "ceil_mode": True}, "ceil_mode"),
        (
            "slice_by_index",
            {"x": X, "begin": [0] * 4, "end": [1] * 4, "stride": [-1] * 4},
            "stride",
        ),
        (
            "upsample_bilinear",
            {"x": X, "align_corners": True, "half_pixel_centers": True},
            "alike",
        ),
        ("upsample_nearest_neighbor", {"x": X, "scale_factor_width": 1.5}, "whole numbers"),
    ],
)
def test_what_is_not_covered_is_refused(
    kind: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotImplementedError, match=message):
        OPERATORS[kind](parameters)


def test_a_parameter_without_a_default_must_be_there() -> None:
    with pytest.raises(KeyError):
        OPERATORS["clip"]({"x": X, "alpha": 0.0})


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("conv", {"x": IMAGE, "weight": WEIGHT, "bias": BIAS, "groups": 2, "pad_type": "valid"}),
        ("conv_transpose", {"x": IMAGE, "weight": UP, "pad_type": "valid"}),
        ("linear", {"x": X, "weight": torch.randn(5, 4, generator=GENERATOR)}),
        ("matmul", {"x": X, "y": Y, "transpose_y": True}),
    ],
)
def test_products_of_float16_are_summed_in_float32_and_rounded_once(
    kind: str, parameters: dict[str, Any]
) -> None:
    half = {k: v.half() if isinstance(v, torch.Tensor) else v for k, v in parameters.items()}
    exact = {k: v.float() if isinstance(v, torch.Tensor) else v for k, v in half.items()}
    as_stored = {k: v.numpy() if k in {"weight", "bias"} else v for k, v in half.items()}
    truth = OPERATORS[kind](exact)
    assert isinstance(truth, torch.Tensor)
    for given in (half, as_stored):
        found = OPERATORS[kind](given)
        assert isinstance(found, torch.Tensor)
        assert found.dtype is torch.float16
        assert torch.equal(found, truth.half())
