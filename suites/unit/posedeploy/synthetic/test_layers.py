"""Layers whose weights or activations no trained network has."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from posedeploy.synthetic.calibration import standardize_attention
from posedeploy.synthetic.fitting.fit import drop_subnormal
from posedeploy.synthetic.layers import (
    LayerFacts,
    below_half,
    grid_db,
    layer_facts,
    layer_failures,
)

FINE = (
    LayerFacts("conv", below_half=0.004, grid_db=45.0, largest=20.0, crest=12.0),
    LayerFacts("norm", below_half=0.0, grid_db=0.0, largest=33.0, crest=4.0),
)


def test_weights_below_float16_are_counted_and_zeros_are_not() -> None:
    weight = torch.tensor([[0.0, 1e-5, -2e-5, 6.2e-5, -1.0]])
    assert below_half(weight) == pytest.approx(0.4)


def test_weights_on_the_grid_of_int8_lose_nothing_by_rounding() -> None:
    torch.manual_seed(0)
    weight = torch.randn(8, 200)
    assert 35 < grid_db(weight) < 50
    scales = torch.rand(8, 1) * 1e-2
    steps = torch.randint(-127, 128, (8, 200)).float()
    steps[:, 0] = 127
    assert grid_db(steps * scales) > 100


class ScaleNorm(nn.Module):
    """By its name one of mmpose's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.square().sum(dim=-1, keepdim=True).sqrt()


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 1), ScaleNorm(), nn.Identity()

    def extract_feat(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.norm(self.conv(x))
        return features


def test_facts_of_layers_that_run() -> None:
    model: Any = Model()
    batch = torch.zeros(1, 3, 4, 4)
    batch[0, 0, 0, 0] = 10.0
    conv, norm = layer_facts(model, batch)
    assert (conv.name, norm.name) == ("conv", "norm")
    assert conv.largest == 10.0
    assert conv.crest == pytest.approx(math.sqrt(48))  # one of 48 values is not 0
    assert norm.grid_db == norm.below_half == 0.0
    assert norm.largest == pytest.approx(float(model.conv(batch).abs().max()))


@pytest.mark.parametrize(("index", "change", "words"), [
    (0, {"below_half": 0.83}, "conv: 83.0% of the weights below float16's normal range"),
    (0, {"grid_db": 140.0}, "conv: weights on int8's grid (140 dB)"),
    (0, {"grid_db": math.inf}, "conv: weights on int8's grid (inf dB)"),
    (0, {"crest": 400.0}, "conv: inputs up to 400 times their root mean square"),
    (1, {"largest": 6.3}, "inputs of ScaleNorm up to 6.3 only"),
])  # fmt: skip
def test_each_limit_names_the_worst_layer(
    index: int, change: dict[str, float], words: str
) -> None:
    facts = list(FINE)
    assert layer_failures(facts) == ()
    facts[index] = replace(facts[index], **change)  # type: ignore[arg-type]
    assert layer_failures(facts) == (words,)


def test_what_half_precision_may_flush_is_dropped() -> None:
    weight = torch.tensor([[1e-5, -6e-5, 6.2e-5, -0.5, 0.0]])
    drop_subnormal(weight)
    assert weight.tolist() == [[0.0, 0.0, pytest.approx(6.2e-5), -0.5, 0.0]]


class Attention(nn.Module):
    """Output ~ `o` of something that grows with the fourth power of gamma and beta."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((2, 3), 10.0), requires_grad=False)
        self.beta = nn.Parameter(torch.zeros(2, 3), requires_grad=False)
        self.o = nn.Linear(3, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attended: torch.Tensor = self.o(x * (self.gamma * self.gamma).sum() ** 2)
        return attended


def test_attention_is_scaled_and_its_last_layer_stays_in_float16s_range() -> None:
    torch.manual_seed(0)
    unit, x = Attention(), torch.randn(64, 3)
    before = float(unit.o.weight.abs().median())
    with torch.no_grad():
        standardize_attention(unit, lambda: unit(x))
        assert float(unit(x).std()) == pytest.approx(1.0, rel=1e-4)
    assert float(unit.o.weight.abs().median()) == pytest.approx(before, rel=1e-4)
