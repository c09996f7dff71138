"""A convolution as a linear layer: what each output position sees, and weights put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from posedeploy.synthetic.fitting.ridge import Solution


@dataclass(frozen=True)
class Window:
    """The part of a convolution's kernel that is fitted, its middle or the whole.

    Attributes:
        kernel: (kH, kW) of the part.
        margin: Rows and columns of the kernel on each side of it.
        padding: Rows and columns of zeros that the part sees beyond the input's border.
        stride: Of the convolution, in both directions.
        dilation: Of the convolution, in both directions.
    """

    kernel: tuple[int, int]
    margin: tuple[int, int]
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


def window_of(conv: Any, core: int = 0) -> Window:
    """The window of a convolution whose padding is given in numbers.

    Args:
        conv: A `Conv2d` with one group.
        core: Side of the middle part of the kernel; 0 for the whole.
    """
    sides = tuple(core or side for side in conv.kernel_size)
    margin = tuple((k - side) // 2 for k, side in zip(conv.kernel_size, sides, strict=True))
    padding = tuple(
        int(p) - m * d for p, m, d in zip(conv.padding, margin, conv.dilation, strict=True)
    )
    return Window(
        (sides[0], sides[1]),
        (margin[0], margin[1]),
        (padding[0], padding[1]),
        conv.stride,
        conv.dilation,
    )


def write(conv: Any, norm: Any, window: Window, solution: Solution) -> None:
    """Put a solution into the first channels of a convolution, and of the norm behind it.

    The norm gets the statistics that training would have found, and the scale and shift that
    undo them. Weights outside the window become 0.
    """
    channels = slice(0, len(solution.weight))
    (top, left), (height, width) = window.margin, window.kernel
    conv.weight[channels] = 0.0
    conv.weight[channels, :, top : top + height, left : left + width] = solution.weight.reshape(
        -1, conv.weight.shape[1], height, width
    )
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
