"""Swin's attention in windows, without a size that is computed from the batch.

mmpose's own has two things that no exporter records as they are meant. It divides the number of
windows by that of one image and makes an `int` of it, which is the batch of the example in every
graph. And it cuts the mask of shifted windows out of slices that are empty where a feature map is
one window high, at which the TorchScript exporter stops.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

_APART = -100.0  # mmpose's: what is added to the logits of two places that are not neighbors


class ShiftedWindowAttention(nn.Module):
    """mmpose's `ShiftWindowMSA` with its weights; it computes the same values."""

    def __init__(self, original: Any) -> None:
        super().__init__()
        self.attention = original.w_msa
        self.window, self.shift = original.window_size, original.shift_size

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Features [N, H·W, C] of a map of `size` (H, W) → attended features [N, H·W, C]."""
        height, width = (int(side) for side in size)
        window, shift, channels = self.window, self.shift, self.attention.embed_dims
        padding = (0, 0, 0, -width % window, 0, -height % window)
        padded = functional.pad(features.view(-1, height, width, channels), padding)
        if shift:
            padded = torch.roll(padded, (-shift, -shift), (1, 2))
        rows, columns = -(-height // window), -(-width // window)
        windows = padded.view(-1, rows, window, columns, window, channels).transpose(2, 3)
        mask = shifted_mask(rows, columns, window, shift) if shift else None
        attended = self._attend(windows.reshape(-1, window * window, channels), mask)
        back = attended.view(-1, rows, columns, window, window, channels).transpose(2, 3)
        back = back.reshape(-1, rows * window, columns * window, channels)
        if shift:
            back = torch.roll(back, (shift, shift), (1, 2))
        return back[:, :height, :width].reshape(-1, height * width, channels)

    def _attend(self, windows: Tensor, mask: NDArray[np.float32] | None) -> Tensor:
        """Windows [N·windows, places, C] → the same; `mask` [windows, places, places]."""
        own = self.attention
        places, channels, heads = self.window**2, own.embed_dims, own.num_heads
        parts = own.qkv(windows).view(-1, places, 3, heads, channels // heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        bias = own.relative_position_bias_table[own.relative_position_index.view(-1)]
        logits = (query * own.scale) @ key.transpose(-2, -1)
        logits = logits + bias.view(places, places, heads).permute(2, 0, 1)
        if mask is not None:
            apart = torch.from_numpy(mask).to(logits).unsqueeze(1)
            logits = logits.view(-1, len(mask), heads, places, places) + apart
            logits = logits.view(-1, heads, places, places)
        mixed = (logits.softmax(-1) @ value).transpose(1, 2)
        return own.proj(mixed.reshape(-1, places, channels))  # type: ignore[no-any-return]


def shifted_mask(rows: int, columns: int, window: int, shift: int) -> NDArray[np.float32]:
    """What is added to the logits of windows after the shift, [windows, places, places].

    A shifted map is put together of parts from its four borders; in a window only places of the
    same part see each other. Computed in numpy, which no exporter records.
    """
    ends = [np.arange(count * window) for count in (rows, columns)]
    parts = [np.searchsorted((len(e) - window, len(e) - shift), e, side="right") for e in ends]
    labels = 3 * parts[0][:, None] + parts[1]
    labels = labels.reshape(rows, window, columns, window).swapaxes(1, 2)
    labels = labels.reshape(rows * columns, window * window)
    apart = labels[:, None] != labels[:, :, None]
    return np.where(apart, _APART, 0.0).astype(np.float32)
