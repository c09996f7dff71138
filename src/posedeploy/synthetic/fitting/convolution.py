"""A convolution as a linear layer: what each output position sees, and weights put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from posedeploy.synthetic.fitting.ridge import Solution


@dataclass(frozen=True)
class Window:
    """What an output position of a convolution sees.

    Attributes:
        kernel: (kH, kW).
        padding: Rows and columns of zeros beyond the input's border.
        stride: In both directions.
        dilation: In both directions.
    """

    kernel: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]

    def columns(self, inputs: torch.Tensor) -> torch.Tensor:
        """[N, C, H, W] → what each output position sees, [N·h·w, C·kH·kW]."""
        if self.kernel == self.stride == (1, 1):
            return inputs.movedim(1, -1).flatten(0, 2)
        seen = nn.functional.unfold(
            inputs, self.kernel, self.dilation, padding=self.padding, stride=self.stride
        )
        return seen.transpose(1, 2).flatten(0, 1)

    def shape(self, inputs: torch.Tensor) -> tuple[int, int]:
        """(h, w) of the output, for inputs [N, C, H, W]."""
        height, width = (
            (inputs.shape[2 + axis] + 2 * self.padding[axis] - reach - 1) // self.stride[axis] + 1
            for axis, reach in enumerate(
                d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)
            )
        )
        return height, width


def window_of(conv: Any) -> Window:
    """The window of a `Conv2d` with one group, whose padding is given in numbers."""
    return Window(conv.kernel_size, conv.padding, conv.stride, conv.dilation)


def write(conv: Any, norm: Any, solution: Solution) -> None:
    """Put a solution into the first channels of a convolution, and of the norm behind it.

    The norm gets the statistics that training would have found, and the scale and shift that
    undo them.
    """
    channels = slice(0, len(solution.weight))
    conv.weight[channels] = solution.weight.reshape(-1, *conv.weight.shape[1:])
    if norm is None:
        if conv.bias is not None:
            conv.bias[channels] = solution.bias
        return
    if conv.bias is not None:
        conv.bias[channels] = 0
    norm.running_mean[channels] = solution.mean
    norm.running_var[channels] = solution.variance
    norm.weight[channels] = (solution.variance + norm.eps).sqrt()
    norm.bias[channels] = solution.mean + solution.bias
