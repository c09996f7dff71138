"""`posedeploy` with ScaleNorm exported in a form that leaves float16's range.

CPUs add in float32 whatever the file holds. `half` writes into the graph what hardware does that
computes in float16: results above its range are infinite, and those below it are 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell
from poseconform.subject.posedeploy_subject import PosedeploySubject, toolchain_key
from poseconform.subject.protocol import Conversion
from posedeploy.export.norms import NORMS, SCALE_NORM

_RANGE = torch.finfo(torch.float16)


def half(x: Tensor) -> Tensor:
    """Values as far as float16 can hold them, whatever their digits."""
    size = x.abs()
    kept = torch.where(size < _RANGE.smallest_normal, torch.zeros_like(x), x)
    return torch.where(size > _RANGE.max, torch.full_like(x, torch.inf), kept)


class InHalf(nn.Module):
    """mmpose's ScaleNorm of x / `divisor`, with sums of squares in float16.

    `squares` is False where the squares themselves are not rounded, and their sum alone is.
    """

    def __init__(self, norm: Any, divisor: float = 1.0, *, squares: bool = True) -> None:
        super().__init__()
        self.g, self.scale, self.floor = norm.g, norm.scale, norm.eps / divisor
        self.divisor, self.squares = divisor, squares

    def forward(self, x: Tensor) -> Tensor:
        """Rows [..., d] -> rows [..., d]."""
        x = x / self.divisor
        squares = half(x * x) if self.squares else x * x
        norm = half(squares.sum(dim=-1, keepdim=True)).sqrt() * self.scale
        result: Tensor = x / norm.clamp(min=self.floor) * self.g
        return result


@dataclass(frozen=True)
class ScaleNormAs:
    """`posedeploy`, whose every backend gets ScaleNorm in another form."""

    form: dict[str, Any]  # a row of `NORMS`
    known: PosedeploySubject

    def __getattr__(self, name: str) -> Any:
        return getattr(self.known, name)

    def convert(
        self, cell: Cell, checkpoint: str, exporter: str, cache: ArtifactCache
    ) -> Conversion:
        """As `Subject.convert`."""
        with patch.dict(NORMS, {"divided": self.form}):
            return self.known.convert(cell, checkpoint, exporter, cache)


def _subject(name: str, form: dict[str, Any]) -> ScaleNormAs:
    known = PosedeploySubject(toolchain=lambda: f"{toolchain_key()} with ScaleNorm {name}")
    return ScaleNormAs(form, known)


ACCUMULATED = _subject("accumulated", {SCALE_NORM: lambda norm: InHalf(norm, squares=False)})
FIXED = _subject("fixed", {SCALE_NORM: lambda norm: InHalf(norm, 64.0)})
IN_HALF = _subject("in half", {SCALE_NORM: InHalf})
