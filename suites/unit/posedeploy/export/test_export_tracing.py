"""The mode in which everything but the batch is a constant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from posedeploy.export.tracing import static_shapes

IMAGE = torch.arange(2 * 4 * 12 * 18, dtype=torch.float32).reshape(2, 4, 12, 18)


def _same(function: Callable[[torch.Tensor], torch.Tensor]) -> None:
    expected = function(IMAGE)
    with static_shapes():
        actual = function(IMAGE)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("size", [(6, 6), 6, (5, 7), (1, 1), 1, (12, 18)])
def test_adaptive_pooling_is_the_same(size: Any) -> None:
    _same(lambda image: functional.adaptive_avg_pool2d(image, size))


@pytest.mark.parametrize("size", [(24, 36), (12, 18), (20, 30), (6, 9)])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_interpolation_is_the_same(size: Any, mode: str) -> None:
    _same(lambda image: functional.interpolate(image, size=size, mode=mode))
    _same(lambda image: functional.interpolate(image, size, None, mode))


def test_interpolation_to_a_square_by_factor_and_aligned() -> None:
    _same(lambda image: functional.interpolate(image, 36))
    _same(lambda image: functional.interpolate(image, scale_factor=2))
    _same(lambda image: functional.interpolate(image.flatten(2), size=432))
    _same(
        lambda image: functional.interpolate(
            image, size=(24, 36), mode="bilinear", align_corners=True
        )
    )


@pytest.mark.parametrize(("chunks", "dim"), [(2, 1), (3, 1), (2, 0), (4, -1)])
def test_chunks_are_the_same(chunks: int, dim: int) -> None:
    def scaled(image: torch.Tensor) -> torch.Tensor:
        parts = [part * (i + 1) for i, part in enumerate(image.chunk(chunks, dim))]
        return torch.cat(parts, dim)

    _same(scaled)


class _ReadsItsShape(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = image.size()
        assert image.size(2) == height
        folded = image.view(batch, 2, channels // 2, height, width)
        return folded.transpose(1, 2).reshape(batch, -1, image.shape[2], image.size(-1))


def test_a_trace_reads_the_batch_and_nothing_else() -> None:
    with static_shapes():
        traced = torch.jit.trace(_ReadsItsShape(), (IMAGE,), check_trace=False)  # type: ignore[no-untyped-call]
    sizes = [n for n in traced.graph.nodes() if n.kind() == "aten::size"]
    axes = {next(iter(list(n.inputs())[1:])).toIValue() for n in sizes}
    assert axes == {0}
    for batch in (1, 3):
        other = torch.randn((batch, 4, 12, 18))
        assert torch.equal(traced(other), _ReadsItsShape()(other))


def test_nothing_is_left_behind() -> None:
    before = functional.interpolate
    with static_shapes():
        pass
    assert functional.interpolate is before
