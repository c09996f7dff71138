"""Deformable convolution against its definition."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from posedeploy.deformable import DeformConv2d  # noqa: E402


def by_definition(layer: Any, image: Any, offset: Any) -> Any:
    """Dai et al., equation 2, sample by sample: bilinear, zeros beyond the image."""
    weight, x, off = (t.detach().numpy() for t in (layer.weight, image, offset))
    count, channels, height, width = x.shape
    outputs, per_group, tall, wide = weight.shape
    result = np.zeros((count, outputs, *off.shape[2:]))

    def value(n: int, c: int, row: float, column: float) -> float:
        total = 0.0
        for y, z in itertools.product(
            *(range(int(np.floor(p)), int(np.floor(p)) + 2) for p in (row, column))
        ):
            if 0 <= y < height and 0 <= z < width:
                total += x[n, c, y, z] * (1 - abs(row - y)) * (1 - abs(column - z))
        return total

    for n, out, i, j in np.ndindex(result.shape):
        first = out // (outputs // layer.groups) * per_group
        for k, (a, b) in enumerate(itertools.product(range(tall), range(wide))):
            for c in range(per_group):
                part = (first + c) // (channels // layer.deform_groups)
                at = 2 * (part * tall * wide + k)
                row = i * layer.stride[0] - layer.padding[0] + a * layer.dilation[0]
                column = j * layer.stride[1] - layer.padding[1] + b * layer.dilation[1]
                place = row + off[n, at, i, j], column + off[n, at + 1, i, j]
                result[n, out, i, j] += weight[out, c, a, b] * value(n, first + c, *place)
    return result


@pytest.mark.parametrize(
    ("groups", "parts", "stride", "padding", "dilation"),
    [(1, 1, 1, 1, 1), (2, 2, 1, 1, 1), (2, 1, 1, 0, 1), (1, 4, 2, 2, 2)],
)
def test_it_is_the_convolution_of_the_paper(
    groups: int, parts: int, stride: int, padding: int, dilation: int
) -> None:
    torch.manual_seed(0)
    layer = DeformConv2d(4, 4, 3, stride, padding, dilation, groups, parts).double()
    image = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    plain = torch.nn.functional.conv2d(
        image, layer.weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    nowhere = torch.zeros(2, parts * 18, *plain.shape[2:], dtype=torch.float64)
    assert torch.allclose(layer(image, nowhere), plain)
    offset = 2 * torch.randn_like(nowhere)
    assert layer(image, offset).detach().numpy() == pytest.approx(
        by_definition(layer, image, offset), abs=1e-10
    )


def test_it_has_no_bias() -> None:
    with pytest.raises(ValueError, match="no bias"):
        DeformConv2d(4, 4, 3, bias=True)
