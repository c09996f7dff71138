"""What half precision and int8 depend on, layer by layer: ranges of weights and of activations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SMALLEST_HALF = float(torch.finfo(torch.float16).smallest_normal)
_INT8_STEPS = 127  # to either side of 0, of weights with a scale per output channel
_NORMS = ("ScaleNorm",)  # mmpose's layers that take a sum of squares over all channels

# Limits for made weights: what the networks that were trained here stay within, with room. The
# figures are of the weights in fixtures/weights, by `python -m posedeploy.synthetic.admission`.
MOST_BELOW_HALF = 0.01  # of a layer's weights; the worst trained layer has 0.4 %
MOST_GRID_DB = 60.0  # trained layers have 41 to 50 dB; on the grid it would be 140 and more
LEAST_NORM_INPUT = 10.0  # the larger ScaleNorm of RTMPose has 32 to 46, of a published model 274
MOST_CREST = 64.0  # trained layers have 2 to 46; more leaves int8 few steps for most values


@dataclass(frozen=True)
class LayerFacts:
    """A convolution, a linear layer or a ScaleNorm on a batch.

    Attributes:
        name: Path of the module.
        below_half: Part of the weights other than 0 below float16's smallest normal number.
        grid_db: Signal to noise of weights rounded to int8, a scale per output channel, in dB;
            inf where they lie on that grid.
        largest: Largest absolute value of the input.
        crest: `largest` over the input's root mean square.
    """

    name: str
    below_half: float
    grid_db: float
    largest: float
    crest: float


def layer_facts(model: Any, batch: torch.Tensor) -> tuple[LayerFacts, ...]:
    """The facts of every such layer that runs, in the order of the first run.

    Args:
        model: An mmpose pose estimator in evaluation mode.
        batch: Normalized images [N, 3, H, W] float32.
    """
    inputs: dict[str, tuple[float, float]] = {}
    with _recording(model, inputs), torch.no_grad():
        model.head.forward(model.extract_feat(batch))
    facts = []
    for name, (largest, square) in inputs.items():
        weight = getattr(model.get_submodule(name), "weight", None)
        below, grid = (0.0, 0.0) if weight is None else (below_half(weight), grid_db(weight))
        crest = largest / max(square**0.5, torch.finfo(torch.float32).tiny)
        facts.append(LayerFacts(name, below, grid, largest, crest))
    return tuple(facts)


def below_half(weight: torch.Tensor) -> float:
    """Part of the weights other than 0 that float16 holds as subnormal numbers, or as 0."""
    values = weight.detach().abs()
    return float(((values > 0) & (values < SMALLEST_HALF)).float().mean())


def grid_db(weight: torch.Tensor) -> float:
    """Signal to noise in dB of weights [out, ...] rounded to int8 with a scale per output."""
    rows = weight.detach().flatten(1).double()
    step = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-30) / _INT8_STEPS
    noise = (torch.round(rows / step) * step - rows).square().sum()
    return float(10 * torch.log10(rows.square().sum() / noise))


def layer_failures(facts: Sequence[LayerFacts]) -> tuple[str, ...]:
    """The limits that layers violate, one message each with the worst layer."""
    weighted = [fact for fact in facts if fact.grid_db]
    norms = [fact.largest for fact in facts if not fact.grid_db]
    small = max(weighted, key=lambda fact: fact.below_half)
    grid = max(weighted, key=lambda fact: fact.grid_db)
    crest = max(weighted, key=lambda fact: fact.crest)
    checks = [
        (small.below_half <= MOST_BELOW_HALF,
         f"{small.name}: {small.below_half:.1%} of the weights below float16's normal range"),
        (grid.grid_db <= MOST_GRID_DB,
         f"{grid.name}: weights on int8's grid ({grid.grid_db:.0f} dB)"),
        (crest.crest <= MOST_CREST,
         f"{crest.name}: inputs up to {crest.crest:.0f} times their root mean square"),
        (not norms or max(norms) >= LEAST_NORM_INPUT,
         f"inputs of ScaleNorm up to {max(norms, default=0.0):.2g} only"),
    ]  # fmt: skip
    return tuple(text for passed, text in checks if not passed)


@contextmanager
def _recording(model: nn.Module, inputs: dict[str, tuple[float, float]]) -> Iterator[None]:
    """Note each layer's largest input and its mean square, over all runs of the layer."""

    def note(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            values = args[0].detach().abs()
            largest, square = inputs.get(name, (0.0, 0.0))
            inputs[name] = (
                max(largest, float(values.max())), max(square, float(values.square().mean()))
            )  # fmt: skip

        return hook

    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) or type(module).__name__ in _NORMS
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
