"""Exact reparametrizations: what of a network can be multiplied by a factor, and what divided.

The function stays what it is, and ranges inside change. This module imports no torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Reparametrization:
    """Tensors that are multiplied by powers of one factor.

    Attributes:
        name: For a person.
        owner: Class of the module whose tensors they are; classes that derive from it have the
            row too.
        powers: Path of tensors below such a module, `*` for any part -> power of the factor. A
            module that lacks one of them does not have the row.
        why: Why the function stays the same.
        also: The same for tensors that not every such module has.
        norm: Path of a norm below it, whose input is multiplied and whose output is not.
        most: Largest factor of a row without a norm.
    """

    name: str
    owner: str
    powers: Mapping[str, int]
    why: str
    also: Mapping[str, int] = field(default_factory=dict)
    norm: str = ""
    most: float = 1.0

    def owners(self, model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """The modules that have the row, by path."""
        for path, module in model.named_modules():
            names = [name for name, _ in module.named_parameters()]
            if self.owner in {kind.__name__ for kind in type(module).__mro__} and all(
                fnmatch.filter(names, pattern) for pattern in self.powers
            ):
                yield path, module

    def tensors(self, owner: nn.Module) -> list[tuple[Tensor, int]]:
        """The tensors of one of these modules, each with its power."""
        powers = {**self.powers, **self.also}
        return [
            (tensor, power)
            for pattern, power in powers.items()
            for name, tensor in owner.named_parameters()
            if fnmatch.fnmatchcase(name, pattern)
        ]


_ALIKE = "the shortcut and what is added to it grow alike, and the last layers take it back"
_RELU = "ReLU passes a positive factor on, and the next convolution takes it back"
_SCALE_NORM = "ScaleNorm divides its input by the input's norm"
_LAST = {"cls_x.*": -1, "cls_y.*": -1}
# ---- modify this table to add a reparametrization; the order is that in which they are applied --
# fmt: off
REPARAMETRIZATIONS: tuple[Reparametrization, ...] = (
    Reparametrization("input of the head's norm", "RTMCCHead", {"final_layer.*": 1}, _SCALE_NORM,
                      norm="mlp.0"),
    Reparametrization("input of the head's norm", "RTMWHead", {"final_layer.bn.*": 1},
                      f"{_SCALE_NORM}; ReLU in front of it passes a positive factor on",
                      norm="mlp.0"),
    Reparametrization("input of the head's other norm", "RTMWHead", {"final_layer2.bn.*": 1},
                      f"{_SCALE_NORM}; ReLU in front of it passes a positive factor on",
                      norm="mlp2.0"),
    Reparametrization("input of the attention's norm", "RTMCCHead",
                      {"mlp.1.weight": 1, "gau.o.*": 1, **_LAST}, _ALIKE, norm="gau.ln"),
    Reparametrization("input of the attention's norm", "RTMWHead",
                      {"mlp.1.weight": 1, "mlp2.1.weight": 1, "gau.o.*": 1, **_LAST}, _ALIKE,
                      norm="gau.ln"),
    Reparametrization("queries and keys", "RTMCCBlock", {"gamma": 1, "beta": 1, "o.weight": -4},
                      "attention is the square of their product, and the last layer takes it back",
                      also={"w": 2}, most=8),
    Reparametrization("batch norm before ReLU", "BasicBlock", {"bn1.*": 1, "conv2.weight": -1},
                      _RELU, most=8),
    Reparametrization("batch norms before ReLU", "Bottleneck",
                      {"bn1.*": 1, "conv2.weight": -1, "bn2.*": 1, "conv3.weight": -1}, _RELU,
                      most=8),
    Reparametrization("inputs of layer norms", "VisionTransformer",
                      {"patch_embed.projection.*": 1, "pos_embed": 1, "layers.*.attn.proj.*": 1,
                       "layers.*.ffn.layers.1.*": 1},
                      "all that is added to the residual stream grows alike, and layer norms take "
                      "it out, but for their epsilon, which shrinks beside the variance",
                      also={"cls_token": 1}, norm="ln1"),
)
# fmt: on
# ------------------------------------------------------------------------------------------------
# Heads with a ScaleNorm, whose sum of squares leaves float16's range where trained networks are.
SCALE_NORM_HEADS = frozenset(
    row.owner for row in REPARAMETRIZATIONS if row.why.startswith(_SCALE_NORM)
)
