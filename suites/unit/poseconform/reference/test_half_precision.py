"""16 bits without instructions for them: the numbers of autocast, at the speed of float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from poseconform.reference.errors import SUMS_OF_PRODUCTS, HalfSumsInFloat32


class Network(nn.Module):
    """A convolution, a norm, attention and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 8, 2, 2)
        self.last = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = self.up(self.stem(x)).flatten(2).transpose(1, 2)
        weights = (rows @ rows.transpose(1, 2) / 8).softmax(-1)
        found: torch.Tensor = self.last(weights @ rows)
        return found


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_it_computes_what_autocast_computes(network: Network, dtype: torch.dtype) -> None:
    x = torch.randn(2, 3, 10, 8)
    with torch.autocast("cpu", dtype):
        expected = network(x)
    with HalfSumsInFloat32(), torch.autocast("cpu", dtype):
        found = network(x)
    exact = network.double()(x.double())
    assert found.dtype == expected.dtype == dtype
    rounding = (expected - exact).abs().max()
    assert 0 < (found - exact).abs().max() <= 1.5 * rounding
    assert (found - expected).abs().max() <= 2 * rounding, "each is as far off as rounding goes"


@torch.no_grad()
def test_no_product_is_left_to_16_bits(network: Network) -> None:
    """What is summed in float16 on this CPU takes minutes on another."""
    summed: list[tuple[object, torch.dtype]] = []

    class Watching(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            if func in SUMS_OF_PRODUCTS:
                summed.append((func, args[0].dtype))
            return func(*args, **(kwargs or {}))

    with Watching(), HalfSumsInFloat32(), torch.autocast("cpu", torch.float16):  # type: ignore[no-untyped-call]
        network(torch.randn(1, 3, 10, 8))
    assert {dtype for _, dtype in summed} == {torch.float32}
    assert len({func for func, _ in summed}) >= 3


@torch.no_grad()
def test_float32_passes_unchanged(network: Network) -> None:
    x = torch.randn(2, 3, 10, 8)
    with HalfSumsInFloat32():
        found = network(x)
    assert torch.equal(found, network(x))
