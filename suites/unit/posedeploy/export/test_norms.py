"""ScaleNorm as it is exported: the same function, within float16's range at every magnitude."""

from __future__ import annotations

import pydoc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from posedeploy.compat import install
from posedeploy.config import load_deploy_config
from posedeploy.export.norms import NORMS, SCALE_NORM, DividedScaleNorm
from posedeploy.runtime.registry import BACKENDS

install()
ScaleNorm: Any = pydoc.locate(SCALE_NORM)

MAGNITUDES = [0.0, 1e-30, 1e-8, 1e-5, 7e-5, 1e-3, 1.0, 274.0, 2000.0, 1e30]
SMALLEST = float(torch.finfo(torch.float16).smallest_normal)
aten = torch.ops.aten


def norm_of(channels: int) -> Any:
    norm = ScaleNorm(channels)
    nn.init.constant_(norm.g, 1.3)
    return norm.requires_grad_(False)


def rows(channels: int, magnitude: float) -> Tensor:
    """Rows [3, channels] with this largest |x|: of noise, of one value, of equal values."""
    x = torch.randn((3, channels), generator=torch.Generator().manual_seed(channels))
    x[1], x[2] = 0, 1
    x[1, 5] = -1
    scaled: Tensor = x / x.abs().amax(-1, keepdim=True) * magnitude
    return scaled


def truth(norm: Any, x: Tensor) -> Tensor:
    """The definition in float64, which holds the squares of all magnitudes here."""
    x = x.double()
    length = x.square().sum(-1, keepdim=True).sqrt()
    normed: Tensor = x / (length * norm.scale).clamp(min=norm.eps) * norm.g.double()
    return normed


@pytest.mark.parametrize("magnitude", MAGNITUDES)
@pytest.mark.parametrize("channels", [16, 48, 256])
def test_it_is_the_same_function(channels: int, magnitude: float) -> None:
    norm, x = norm_of(channels), rows(channels, magnitude)
    expected = truth(norm, x)
    size = expected.abs().amax().clamp(min=1e-300)
    for dtype, steps in ((torch.float64, 8), (torch.float32, 4)):
        found = DividedScaleNorm(norm.to(dtype))(x.to(dtype))
        error = float((found.double() - expected).abs().amax() / size)
        assert error <= steps * torch.finfo(dtype).eps


def test_mmposes_own_loses_rows_in_float32_too() -> None:
    """So that the comparison above is not one with mmpose's module, but with its definition."""
    norm, x = norm_of(48), rows(48, 1e30)
    assert not norm(x).any()
    assert DividedScaleNorm(norm)(x)[0].square().mean().sqrt() == pytest.approx(1.3, rel=1e-5)


class Half(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Round every result to float16, sum in it, and take subnormal numbers for 0."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is aten.linalg_vector_norm.default:
            squares = self.rounded(args[0] * args[0])
            total = torch.zeros_like(squares[..., :1])
            for column in squares.split(1, dim=-1):
                total = self.rounded(total + column)
            return self.rounded(total.sqrt())
        return self.rounded(func(*args, **(kwargs or {})))

    @staticmethod
    def rounded(value: Any) -> Any:
        value = value.half().float()
        return torch.where(value.abs() < SMALLEST, torch.zeros_like(value), value)


class FixedFactor(nn.Module):
    """What helps at large magnitudes alone."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x / 64)
        return normed


def holds_in_half(norm: Any, module: nn.Module, magnitude: float) -> bool:
    x = Half.rounded(rows(48, magnitude))
    expected = truth(norm, x)
    with Half():  # type: ignore[no-untyped-call]
        found = module(x).double()
    return bool(((found - expected).abs() <= 0.02 * expected.abs().amax()).all())


@pytest.mark.parametrize("magnitude", [0.0, 2e-4, 1e-3, 1.0, 274.0, 2000.0, 6e4])
def test_it_holds_in_float16_at_every_magnitude(magnitude: float) -> None:
    norm = norm_of(48)
    assert holds_in_half(norm, DividedScaleNorm(norm), magnitude)


@pytest.mark.parametrize(
    ("make", "magnitude"),
    [(lambda norm: norm, 274.0), (FixedFactor, 1e-2), (FixedFactor, 2e4)],
)
def test_others_do_not(make: Callable[[Any], nn.Module], magnitude: float) -> None:
    """The original, with the values of a trained RTMPose-s; a constant divisor."""
    norm = norm_of(48)
    assert not holds_in_half(norm, make(norm), magnitude)


@pytest.mark.parametrize("row", BACKENDS, ids=lambda row: row.name)
def test_what_may_compute_in_float16_has_it_divided(row: Any) -> None:
    assert row.norm in NORMS
    assert (SCALE_NORM in NORMS[row.norm]) == ("fp16" in row.precisions)


@pytest.mark.parametrize(
    ("config", "kind"),
    [("simcc_ncnn_static-256x192", DividedScaleNorm), ("simcc_torchscript_static", ScaleNorm)],
)
def test_the_backends_row_chooses(subject: Callable[[str], Any], config: str, kind: type) -> None:
    it = subject("rtmpose")
    deploy_config = load_deploy_config(f"pose-detection_{config}")
    module = it.exportable(deploy_config=deploy_config)
    assert sum(type(m) is kind for m in module.network.modules()) == 2
    assert sum(type(m) is ScaleNorm for m in it.model.modules()) == 2
