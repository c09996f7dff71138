"""Attention in windows as it is exported, against mmpose's own."""

from __future__ import annotations

import pytest
import torch

from posedeploy.compat import install
from posedeploy.export.windows import ShiftedWindowAttention

WINDOW = 7


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("shift", [0, 3])
@pytest.mark.parametrize("size", [(7, 7), (4, 6), (14, 7), (16, 24), (15, 21)], ids=str)
def test_windows_are_mmposes(size: tuple[int, int], shift: int, batch: int) -> None:
    install()
    from mmpose.models.backbones.swin import ShiftWindowMSA

    torch.manual_seed(0)
    own = ShiftWindowMSA(embed_dims=8, num_heads=2, window_size=WINDOW, shift_size=shift).eval()
    torch.nn.init.normal_(own.w_msa.relative_position_bias_table)
    features = torch.randn(batch, size[0] * size[1], 8)
    with torch.no_grad():
        expected = own(features, size)
        made = ShiftedWindowAttention(own).eval()(features, size)
    assert expected.std() > 0.1
    torch.testing.assert_close(made, expected, atol=1e-6, rtol=1e-5)
