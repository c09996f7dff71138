"""PyTorch's own rounding to a precision: what is lost at least, without any backend.

Sums of products are float32 in all of them, as units for 16 and 8 bits accumulate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from posedeploy.synthetic.accuracy.rounding import rounded


def roundings(network: nn.Module, precision: str) -> Iterator[nn.Module]:
    """The network as each honest way to round at a precision has it, one after the other.

    float32 has two, since one run is a noisy measure. The network itself is not changed.

    Raises:
        KeyError: The precision has no row.
    """
    for rounding in _ROUNDINGS[precision]:
        yield rounding(network)


def _stored(kind: torch.dtype, network: nn.Module) -> nn.Module:
    """A copy whose weights and whose layers' outputs are stored in 16 bits."""
    largest = torch.finfo(kind).max

    def store(value: Any) -> Any:
        if not torch.is_tensor(value) or value.dtype != torch.float32:
            return value
        # what leaves the range stays: that is a fault of a graph, and no measure of rounding
        return torch.where(value.abs() > largest, value, value.to(kind).float())

    copied = copy.deepcopy(network)
    for module in copied.modules():
        if not list(module.children()):
            for parameter in module.parameters(recurse=False):
                if parameter.ndim > 1:
                    parameter.data = store(parameter.data)
            module.register_forward_hook(lambda _module, _inputs, output: store(output))
    return copied


def _channels_last(network: nn.Module) -> nn.Module:
    ready: Any = copy.deepcopy(network)
    laid_out: nn.Module = ready.to(memory_format=torch.channels_last)
    return laid_out


_ROUNDINGS: Mapping[str, tuple[Callable[[nn.Module], nn.Module], ...]] = {
    "bf16": (partial(_stored, torch.bfloat16),),
    "fp16": (partial(_stored, torch.float16),),
    "fp32": (lambda network: network, _channels_last),
    "int8": (rounded,),
}
