"""A stem that is constructed, not solved for: rectified distances of a color from thresholds.

A joint's disc is told from the rest by its color alone, and a stem of few channels that are
random sees few of the colors apart.  Channels that rectify single primaries and differences of
primaries at thresholds make every color of the palette, the dark and the pale ones as well,
nearly a linear function of what the stem puts out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

_PRIMARIES = 3
# 0..255. Primaries of the palette are 0, 128 or 255; no two thresholds are alike, for a channel
# that rises above one and a channel that rises below it differ by a linear function alone.
_ABOVE, _BELOW = (90.0, 220.0), (40.0, 160.0)
_CONTRASTS = (60.0, 160.0)  # of 1.5 primaries less half of all three, to either side of 0
_GAIN = 10.0 / 128  # what goes in is 0..255; what comes out is as large as fitted maps are
_WINDOW = (0.5, 1.0, 0.5)  # low-pass, on pixels of a quarter of the image


def color_directions() -> Iterator[tuple[torch.Tensor, float]]:
    """Directions [3] in color space and their thresholds, 24 of them."""
    for primary in torch.eye(_PRIMARIES):
        contrast = 1.5 * primary - 0.5
        yield from ((primary, level) for level in _ABOVE)
        yield from ((-primary, -level) for level in _BELOW)
        yield from ((contrast, level) for level in _CONTRASTS)
        yield from ((-contrast, level) for level in _CONTRASTS)


def construct_focus(stem: Any) -> None:
    """Set the first channels of a Focus stem, in place, for pixels that enter as 0..255.

    Args:
        stem: mmpose's `Focus`: its convolution sees four images of half the size, 12 channels.
    """
    conv, norm = stem.conv.conv, stem.conv.bn
    side = torch.tensor(_WINDOW)
    window = torch.outer(side, side) / side.sum() ** 2
    quarters = conv.in_channels // _PRIMARIES
    for channel, (direction, level) in enumerate(color_directions()):
        if channel == conv.out_channels:
            break
        kernel = direction.repeat(quarters)[:, None, None] * window / quarters
        conv.weight[channel] = kernel * _GAIN
        norm.running_mean[channel] = 0.0
        norm.running_var[channel] = 1.0
        norm.weight[channel] = (1.0 + norm.eps) ** 0.5
        norm.bias[channel] = -level * _GAIN
