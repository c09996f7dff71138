"""Ranges of a network's operations, against figures worked out another way."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import fusion

from posedeploy.precision.ranges import Range, network_ranges

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 6, 6), np.float32)


class Network(nn.Module):
    """A network whose last step is a function of the features [1, C, H, W]."""

    def __init__(self, *layers: nn.Module, last: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"layers": nn.Sequential(*layers), "relu": nn.ReLU()})
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.model["layers"](x))


def measured(network: nn.Module, *images: NDArray[np.float32]) -> dict[str, Range]:
    found = network_ranges(network.eval(), images or (IMAGE,), "model.")
    assert [row.depth for row in found] == list(range(len(found)))
    return {f"{row.module}: {row.operator}": row for row in found}


def with_statistics(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    torch.manual_seed(1)
    norm.running_mean, norm.running_var = torch.randn(4), torch.rand(4) * 1e5
    nn.init.uniform_(norm.weight, 1.0, 200.0)
    nn.init.normal_(norm.bias)
    return norm


def test_a_batch_norm_is_part_of_its_convolution() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3), with_statistics(nn.BatchNorm2d(4))
    found = measured(Network(conv, norm))
    assert list(found) == ["layers.0: convolution, batch_norm", ": relu"]
    row = found["layers.0: convolution, batch_norm"]
    fused, x = fusion.fuse_conv_bn_eval(conv, norm), torch.from_numpy(IMAGE)
    assert row.largest == pytest.approx(float(fused(x).detach().abs().max()), rel=1e-5)
    assert row.weight == pytest.approx(float(fused.weight.abs().max()), rel=1e-5)
    # the two biases of the fused one may have opposite signs
    products = nn.functional.conv2d(x.abs(), fused.weight.abs()).amax()
    assert float(products) <= row.total <= float(products) + 20


def test_a_transposed_convolution_has_its_channels_in_another_place() -> None:
    torch.manual_seed(0)
    conv, norm = nn.ConvTranspose2d(3, 4, 2), with_statistics(nn.BatchNorm2d(4))
    row = measured(Network(conv, norm))["layers.0: convolution, batch_norm"]
    fused = fusion.fuse_conv_bn_eval(conv, norm, transpose=True)
    assert row.weight == pytest.approx(float(fused.weight.abs().max()), rel=1e-5)


def test_other_convolutions_and_batch_norms_are_on_their_own() -> None:
    norm = nn.BatchNorm2d(3)
    found = measured(Network(norm, nn.Conv2d(3, 4, 1), nn.ReLU()))
    assert list(found)[:2] == ["layers.0: native_batch_norm", "layers.1: convolution"]
    last = measured(Network(nn.Conv2d(3, 4, 1), last=lambda x: x))
    assert list(last) == ["layers.0: convolution"]


@pytest.mark.parametrize(
    ("last", "operator", "total"),
    [
        (lambda x: torch.linalg.norm(x, dim=-1), "linalg_vector_norm", 6 * 274.0**2),
        (lambda x: torch.norm(x, dim=-1), "linalg_vector_norm", 6 * 274.0**2),
        (lambda x: torch.linalg.norm(x, ord=1, dim=-1), "linalg_vector_norm", 0.0),
        (lambda x: x.mean((2, 3)), "mean", 36 * 274.0),
        (lambda x: x.sum(), "sum", 108 * 274.0),
        (lambda x: x @ x.mT, "bmm", 6 * 274.0**2),
        (lambda x: nn.functional.layer_norm(x, (6,)), "native_layer_norm", 6 * 274.0**2),
    ],
)
def test_what_operations_accumulate(
    last: Callable[[Tensor], Tensor], operator: str, total: float
) -> None:
    image = np.where(np.arange(6) % 2, -274, 274).astype(np.float32) + np.zeros_like(IMAGE)
    row = measured(Network(last=last), image)[f": {operator}"]
    assert row.total == pytest.approx(total, rel=1e-4)
    assert ("sum" in row.risks) == (total > 65504)
    assert row.overflows == bool(row.risks)


def test_the_largest_figures_of_all_inputs_count() -> None:
    alone, both = (measured(Network(), *i)[": relu"] for i in ((IMAGE,), (3 * IMAGE, IMAGE)))
    assert both.largest == pytest.approx(3 * alone.largest)


def values(*numbers: float) -> NDArray[np.float32]:
    return np.resize(np.array(numbers, np.float32), IMAGE.shape)


@pytest.mark.parametrize(
    ("image", "risks"),
    [
        (values(1.0, 2.0), ()),
        (values(65504.0), ()),
        (values(65600.0), ("value",)),
        (values(math.nan), ("value",)),
        (values(5e-5), ("flush",)),
        (values(1.0, 5e-5), ()),
        (values(1.0, *[0.0] * 107), ()),
    ],
)
def test_values_that_leave_float16(image: NDArray[np.float32], risks: tuple[str, ...]) -> None:
    assert measured(Network(), image)[": relu"].risks == risks


def test_outliers_and_weights_below_the_normal_range() -> None:
    wide = np.zeros((1, 3, 80, 80), np.float32)
    wide[0, 0, 0, 0] = 1
    conv = nn.Conv2d(3, 4, 1, bias=False)
    nn.init.constant_(conv.weight, 0.5)
    row = measured(Network(conv), wide)["layers.0: convolution"]
    assert row.risks == ("int8",)
    assert row.crest == pytest.approx(80.0)
    with torch.no_grad():
        conv.weight[0] = 1e-5
    row = measured(Network(conv), IMAGE)["layers.0: convolution"]
    assert row.risks == ("weight",)
    assert row.weight_below == pytest.approx(0.25)
