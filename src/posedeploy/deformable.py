"""Deformable convolution in PyTorch's own operators, where mmcv's compiled one is not installed.

Dai et al., "Deformable Convolutional Networks" (ICCV 2017), version 1, with the arguments, the
parameters and the order of offsets of `mmcv.ops.DeformConv2d`: checkpoints fit either.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair


class DeformConv2d(nn.Module):
    """A convolution whose kernel samples the input at places of its own for each output."""

    def __init__(  # noqa: PLR0917 - mmcv's signature
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if bias:
            raise ValueError("DeformConv2d has no bias, in mmcv either")
        self.kernel_size, self.stride = _pair(kernel_size), _pair(stride)
        self.padding, self.dilation = _pair(padding), _pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Input [N, C, H, W], offsets [N, D·h·w·2, H', W'] in px → [N, C', H', W'].

        Of each of the D groups of input channels and each of the kernel's cells, the offset in y
        comes first, then the one in x. Beyond the input there are zeros.
        """
        count, channels, height, width = x.shape
        out_height, out_width = (int(size) for size in offset.shape[2:])
        parts, cells = self.deform_groups, self.kernel_size[0] * self.kernel_size[1]
        shift = offset.reshape(count * parts, cells, 2, out_height, out_width)
        rows, columns = self._places(out_height, out_width, x)
        grid = torch.stack(
            [
                (columns + shift[:, :, 1]) * (2 / max(width - 1, 1)) - 1,
                (rows + shift[:, :, 0]) * (2 / max(height - 1, 1)) - 1,
            ],
            dim=-1,
        )
        sampled = nn.functional.grid_sample(
            x.reshape(count * parts, channels // parts, height, width),
            grid.reshape(count * parts, cells * out_height, out_width, 2), align_corners=True,
        )  # fmt: skip
        # [N, C · cells, H', W']: the kernel is a matrix on what was sampled
        stacked = sampled.reshape(count, channels * cells, out_height, out_width)
        return nn.functional.conv2d(
            stacked, self.weight.reshape(len(self.weight), -1, 1, 1), groups=self.groups
        )

    def _places(self, height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Rows and columns [cells, H', W'] of the input that are sampled without offsets."""
        steps = [
            torch.arange(size, dtype=like.dtype, device=like.device) for size in self.kernel_size
        ]
        starts = [
            torch.arange(size, dtype=like.dtype, device=like.device) * stride - padding
            for size, stride, padding in zip(
                (height, width), self.stride, self.padding, strict=True
            )
        ]
        tall, wide = self.kernel_size
        rows = starts[0].reshape(1, -1, 1) + (
            self.dilation[0] * steps[0].repeat_interleave(wide)
        ).reshape(-1, 1, 1)
        columns = starts[1].reshape(1, 1, -1) + (self.dilation[1] * steps[1].repeat(tall)).reshape(
            -1, 1, 1
        )
        shape = (tall * wide, height, width)
        return rows.expand(shape), columns.expand(shape)
