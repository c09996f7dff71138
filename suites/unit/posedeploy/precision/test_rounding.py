"""PyTorch's own rounding to a precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from posedeploy.precision.rounding import roundings

INPUT = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)).eval()


@pytest.mark.parametrize(
    ("precision", "low", "high"),
    [("bf16", 2e-4, 1e-2), ("fp16", 1e-5, 1e-3), ("fp32", 0.0, 1e-6), ("int8", 2e-4, 1e-2)],
)
def test_errors_are_those_of_the_precision(precision: str, low: float, high: float) -> None:
    plain = network()
    with torch.no_grad():
        expected = plain(INPUT)
        errors = [float((r(INPUT) - expected).abs().max()) for r in roundings(plain, precision)]
        assert torch.equal(plain(INPUT), expected)
    assert low <= max(errors) <= high


def test_what_overflows_is_no_measure_of_rounding() -> None:
    plain = network()
    with torch.no_grad():
        plain.get_parameter("0.weight").mul_(1e7)
        (rounded,) = roundings(plain, "fp16")
        assert isinstance(rounded, nn.Sequential)
        first: nn.Module = rounded.get_submodule("0")
        assert first(INPUT).abs().max() > torch.finfo(torch.float16).max
        assert torch.allclose(rounded(INPUT), plain(INPUT), rtol=1e-2)
