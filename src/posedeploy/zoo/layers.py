"""Watching what layers put out, and changing it by a known scale and offset."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def recording(layers: list[nn.Module], seen: dict[nn.Module, torch.Tensor]) -> Iterator[None]:
    """Keep what each layer puts out, in `seen`, while the context is open."""
    hooks = [
        layer.register_forward_hook(lambda module, _, output: seen.update({module: output}))
        for layer in layers
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rescale(layer: Any, mean: torch.Tensor, gain: torch.Tensor, target: torch.Tensor) -> None:
    """Change a layer in place so that what was `y` becomes `(y - mean) * gain + target`.

    Args:
        layer: A convolution, linear layer or batch norm.
        mean: [C], subtracted; dropped where the layer has no bias.
        gain: [C], multiplied.
        target: [C], added; dropped where the layer has no bias.
    """
    layer.weight.mul_(gain.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) * gain + target)
