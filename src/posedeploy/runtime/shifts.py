"""How far a deployed model may move keypoints: one rule for `convert`, `compare` and the judge.

    allowed = max(floor, k * what PyTorch's own rounding to that precision does)

It holds for the median, the 95th percentile and the maximum of the distances from PyTorch's
keypoints in float32, each compared with its counterpart on the same images. Distances are in px
of the network's input: they depend neither on the image's size nor on the box. Keypoints that are
near ties of the reference are left out by the caller, who knows the reference's outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Spread:
    """Distances of keypoints, px of the network's input; all 0 for none."""

    median: float = 0.0
    p95: float = 0.0
    max: float = 0.0

    @classmethod
    def of(cls, distances: Floats) -> Spread:
        """The spread of distances `[...]`; NaN in one of them makes all NaN."""
        if not distances.size:
            return cls()
        median = float(np.median(distances))
        # the largest of the 17 keypoints of a person is not part of it
        p95 = float(np.percentile(distances, 95, method="lower"))
        return cls(median, p95, float(distances.max()))

    def within(self, allowed: Spread) -> bool:
        """True if none of the three is larger, or no number."""
        pairs = zip(self.figures, allowed.figures, strict=True)
        return all(found <= limit for found, limit in pairs)

    def __str__(self) -> str:
        """The three of them, for a person."""
        return " / ".join(f"{figure:.2f}" for figure in self.figures)

    @property
    def figures(self) -> tuple[float, float, float]:
        """Median, 95th percentile and maximum."""
        return self.median, self.p95, self.max


@dataclass(frozen=True)
class ShiftRule:
    """How far keypoints may move at a precision.

    Attributes:
        floor_px: Least allowed distance, px of the network's input.
        k: Allowed multiple of what PyTorch's own rounding does.
        match_px: Mean distance of two people's keypoints above which they are different people,
            px of the network's input.
        people: Share of the people in an image that near ties of scores and overlaps may add or
            take away, of models that find people themselves.
        reason: Where the numbers are from.
    """

    floor_px: float
    k: float
    match_px: float
    people: float
    reason: str


# ---- modify this table to add a precision ----------------------------------------------------
# fmt: off
# Measured on the photograph's crops and drawn figures, median / 95th percentile / maximum, px:
#                       PyTorch rounded       ONNX Runtime        OpenVINO          ncnn
# RTMPose-t      fp16   0 / .5 / .71          0 / .5 / .71        0 / 0 / .5        0 / 0 / .5
# SimCC          fp16   .5 / .71 / 1.0        .5 / .71 / 1.12     0 / .5 / .5       0 / .5 / .5
# HRNet (fitted) fp16   0 / 0 / 2.0           0 / 0 / 2.0
# RTMPose-t      int8   0 / .71 / 1.12        0 / .71 / 1.0       .5 / .71 / 1.12   0 / .5 / 1.0
# SimCC          int8   .5 / 1.12 / 1.58      0 / .70 / 1.0
# HRNet (fitted) int8   0 / 2.79 / 6.0
SHIFT_RULES: Mapping[str, ShiftRule] = {
    "bf16": ShiftRule(1.0, 3.0, 64.0, 0.05,
                      "8 bits of mantissa: bins about a peak are equal, and the first is taken"),
    "fp16": ShiftRule(0.75, 3.0, 16.0, 0.05,
                      "a bin of SimCC to either side is .71 px; PyTorch's own fp16 finds 5 of 298 "
                      "people of a calibrated YOLOX-Pose otherwise"),
    "fp32": ShiftRule(0.1, 0.0, 2.0, 0.0,
                      "rounding moves a keypoint that is no near tie by less than .01 px"),
    "int8": ShiftRule(1.0, 3.0, 16.0, 0.05,
                      "PyTorch with weights and inputs of layers on int8's grid; a bin of SimCC "
                      "more than in fp16"),
}
# fmt: on
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shift:
    """How far keypoints moved, and how far they may.

    Attributes:
        spread: The distances.
        allowed: Their limits.
        judged: The distances with those of near ties as 0.
        own: What PyTorch's own rounding to the precision does; None for float32.
        near_ties: How many keypoints moved that are near ties.
    """

    spread: Spread
    allowed: Spread
    judged: Spread
    own: Spread | None = None
    near_ties: int = 0

    @property
    def within(self) -> bool:
        """True if keypoints that are no near ties moved by no more than is allowed."""
        return self.judged.within(self.allowed)

    def __str__(self) -> str:
        """The distances and the limits, for a person."""
        found, ties = self.spread, ""
        if self.near_ties:
            ties = f", {self.near_ties} near tie{'' if self.near_ties == 1 else 's'} left out"
        own = "" if self.own is None else f"; PyTorch's own rounding {self.own}"
        limits = self.allowed if self.own else f"{self.allowed.max:.3g}"  # one for all in float32
        return (
            f"median {found.median:.3g} px, 95th percentile {found.p95:.3g} px, at most "
            f"{found.max:.3g} px apart{ties} (allowed {limits} px{own})"
        )


def judge_shift(
    precision: str,
    apart: Floats,
    own: Floats | None = None,
    reach: Callable[[], Floats] = lambda: np.zeros(1),
) -> Shift:
    """Judge distances from PyTorch's keypoints in float32 by the rule of this module.

    A keypoint is a near tie if PyTorch's own rounding moves it much farther than most, or if the
    reference's outputs are so near a tie that honest rounding can move it as far as it has moved.

    Args:
        precision: A row of `SHIFT_RULES`.
        apart: `[..., K]`, px of the network's input.
        own: The same of PyTorch's own rounding; None for float32.
        reach: How far honest rounding can move each keypoint, of a shape that goes with that of
            `apart`; called only where keypoints moved too far.

    Raises:
        KeyError: The precision has no row.
    """
    rule, ties, steady = SHIFT_RULES[precision], np.zeros(apart.shape, bool), np.zeros(1)
    if own is not None:
        flipped = own > rule.floor_px + rule.k * Spread.of(own).p95
        steady = np.where(flipped, 0.0, own)
        ties = flipped & (apart <= rule.floor_px + rule.k * own)
    figures = Spread.of(steady).figures
    allowed = Spread(*(max(rule.floor_px, rule.k * figure) for figure in figures))
    judged = Spread.of(np.where(ties, 0.0, apart))
    if not judged.within(allowed):
        ties |= apart <= rule.floor_px + reach()
        judged = Spread.of(np.where(ties, 0.0, apart))
    return Shift(
        Spread.of(apart), allowed, judged, None if own is None else Spread.of(own),
        int((ties & (apart > rule.floor_px)).sum()),
    )  # fmt: skip
