"""A copy of a model that works with 8 bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from posedeploy.synthetic.accuracy.rounding import rounded


def test_rounded_model_works_with_256_steps_and_leaves_the_model_alone() -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()
    before, inputs = model[0].weight.clone(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        rounded_model: Any = rounded(model)
        assert (model[0].weight == before).all()
        for layer, same in ((rounded_model[0], model[0]), (rounded_model[2], model[2])):
            steps = layer.weight / (same.weight.abs().flatten(1).amax(1) / 127).reshape(
                -1, *[1] * (same.weight.ndim - 1)
            )
            assert torch.allclose(steps, steps.round(), atol=1e-3)
            assert steps.abs().max() <= 127.001
        expected, found = model(inputs), rounded_model(inputs)
    assert 0 < float((found - expected).abs().max()) < 0.1 * float(expected.abs().max())
