"""mmpose's ScaleNorm, computed so that nothing in it leaves float16's range.

ScaleNorm squares and sums its input, and float16 ends at 65504: with 256 channels
from |x| = 16 on. The sum is then infinite, x / inf is 0, and every keypoint lies at one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

SCALE_NORM = "mmpose.models.utils.transformer.ScaleNorm"
_SMALLEST = float(torch.finfo(torch.float16).smallest_normal)  # below it numbers may become 0


class DividedScaleNorm(nn.Module):
    """ScaleNorm of x / a, where a is the largest |x| of a row: squares are at most 1.

    ScaleNorm is g·x / max(c·|x|, eps) with c = 1/√d. For any a > 0 it equals
    (g/c) · s / max(|s|, eps / (c·a)) with s = x / a. For a = max(max|x|, least), where `least` is
    eps/c or more, eps / (c·a) may be replaced by the constant eps / (c·least): where a = max|x|,
    |s| is 1 or more and both are 1 or less, so that |s| is taken; elsewhere they are equal. No
    intermediate value but x is above √d or in float16's subnormal range, a row of zeros included.
    """

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.least = max(norm.eps / norm.scale, _SMALLEST)
        self.floor = norm.eps / (norm.scale * self.least)
        self.g, self.root = norm.g, 1.0 / norm.scale

    def forward(self, x: Tensor) -> Tensor:
        """Rows [..., d] → rows of the norm g·√d, [..., d]; smaller where max|x| < eps·√d."""
        scaled = x / x.abs().amax(dim=-1, keepdim=True).clamp(min=self.least)
        norm = torch.linalg.norm(scaled, dim=-1, keepdim=True)
        result: Tensor = scaled / norm.clamp(min=self.floor) * (self.g * self.root)
        return result


# ---- modify this table to add a form: `BackendSpec.norm` names one -----------------------------
NORMS: Mapping[str, Mapping[str, Callable[[Any], nn.Module]]] = {
    "divided": {SCALE_NORM: DividedScaleNorm},
    "plain": {},
}
