"""Recording the outputs of layers, and scaling and shifting them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def recording(layers: Iterable[nn.Module]) -> Iterator[dict[nn.Module, torch.Tensor]]:
    """Record each layer's output while the context is open; of several runs, the last one's."""
    seen: dict[nn.Module, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda module, _, output: seen.update({module: output}))
        for layer in layers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def rescale(layer: Any, mean: torch.Tensor, gain: torch.Tensor, target: torch.Tensor) -> None:
    """Change a layer in place so that its output `y` becomes `(y - mean) * gain + target`.

    Each is [C]; without a bias the layer ignores `mean` and `target`.
    """
    layer.weight.mul_(gain.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) * gain + target)


def scale_output(layer: Any, output: torch.Tensor, std: float) -> None:
    """Scale a layer in place so that its `output` would have had this standard deviation."""
    zero = layer.weight.new_zeros(layer.weight.shape[0])
    rescale(layer, zero, torch.full_like(zero, std / float(output.std())), zero)
