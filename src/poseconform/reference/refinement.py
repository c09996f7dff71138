"""How far an error of the outputs moves a keypoint that was refined below one cell; no torch.

DARK and its form for UDP add one Newton step to the highest cell: s = -H⁻¹g, where g and H are
differences of L, the logarithm of the blurred output, at cells around it. An error of the output
changes them by δg and δH, and from (H + δH)(s + δs) = -(g + δg) follows
δs = -(H + δH)⁻¹ (δg + δH s), hence, as ‖(H + δH)⁻¹‖ ≤ ‖H⁻¹‖ / (1 - ‖H⁻¹‖‖δH‖),

    |δs| ≤ ‖H⁻¹‖ |δg + δH s| / (1 - ‖H⁻¹‖ ‖δH‖)   if   ‖H⁻¹‖ ‖δH‖ < 1.

Otherwise the error can make H singular, and the step as long as you like: the maximum is flat.

δg and δH are sums of errors of L with the weights C of the differences. With a blur B and the
values v that the logarithm is taken of, δL = B e / v. An error that rounding made is as good as
independent from cell to cell, so that a sum of such errors with weights w reaches e ‖w‖₂ no more
often than one value reaches e: ‖w‖₂² = (C/v) A (C/v)ᵀ, where A = B Bᵀ is what the blur makes
neighbors share. The codec itself rounds the blurred values in float32, some 2k + 4 times for a
blur of k by k, and once the logarithm: independent for each cell, which adds r² C Cᵀ.

The blurred map is scaled back to its own maximum. That adds one number to L everywhere, which
differences do not see unless some values are clipped. There three times the error bounds both;
values count as clipped from eight times the limit on. From e = v/2 on no bound is given.

SimCCLabel's DARK is not here: mmpose 1.3.2 stops with an error where it decodes one image by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Parts = tuple[Floats, Floats, Floats, Floats]
_NEAR_CLIP = 8.0
_ROUNDING = 2.0**-24  # of float32, relative
_ENTRIES = np.asarray([[0, 1], [1, 2]])  # of H -> row xx, xy or yy


@dataclass(frozen=True)
class Refinement:
    """How far the keypoints of S images move by errors of the outputs.

    The last axis of 2 is for an error of the output of size 1, and for the codec's rounding.
    """

    inverse: Floats  # [S, K] ‖H⁻¹‖, cells squared; 0 where no step is taken
    step: Floats  # [S, K, 2] |δg + δH s|, in 1/cell
    hessian: Floats  # [S, K, 2] ‖δH‖
    least: Floats  # [S, K] smallest value that a logarithm is taken of, in units of the output
    cell_px: float = 1.0  # size of a cell, input px
    flip_px: float = 0.0  # how far a step of a quarter cell moves if it goes the other way

    def reach(self, error: float) -> Floats:
        """`[S, K]` input px: how far an error of this size moves a keypoint; infinite if no bound.

        `error` is the largest of the output's values.
        """
        scale = np.asarray([error, 1.0])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step, hessian = (
                np.sqrt(np.square(part * scale).sum(axis=-1)) for part in (self.step, self.hessian)
            )
            rest = 1 - self.inverse * hessian
            bounded = (rest > 0) & (error < self.least / 2)
            moved = np.where(bounded, self.inverse * step / rest, np.inf)
        return np.where(self.inverse == 0, 0.0, self.cell_px * moved)


@dataclass(frozen=True)
class _Newton:
    """A codec's step: g and H as sums of L at cells, with the weights that its code has."""

    cells: tuple[tuple[int, int], ...]  # dx, dy
    gradient: tuple[tuple[float, ...], ...]  # a row for each of x and y, a weight for each cell
    hessian: tuple[tuple[float, ...], ...]  # rows xx, xy, yy
    diagonal: float  # added to xx and yy, so that H can be inverted
    clip: tuple[float, float]  # of the values, before the logarithm
    border: int  # a peak nearer than this to the edge stays where it is; 0: edges are repeated
    # Where no value is above 0, the peak is cell (-1, -1). True if a step is taken from there too:
    # it reads the end of the map before, so that the place says nothing.
    from_nowhere: bool = False


# ---- modify this table to add a refinement -----------------------------------------------------
# fmt: off
_CROSS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1))
_STEPS: Mapping[str, _Newton] = {
    # `refine_keypoints_dark` of mmpose 1.3.2
    "dark": _Newton(
        (*_CROSS, (1, -1), (-1, 1), (2, 0), (-2, 0), (0, 2), (0, -2)),
        ((0, .5, -.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
         (0, 0, 0, .5, -.5, 0, 0, 0, 0, 0, 0, 0, 0)),
        ((-.5, 0, 0, 0, 0, 0, 0, 0, 0, .25, .25, 0, 0),
         (0, 0, 0, 0, 0, .25, .25, -.25, -.25, 0, 0, 0, 0),
         (-.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, .25, .25)),
        0.0, (1e-10, np.inf), border=2,
    ),
    # `refine_keypoints_dark_udp`
    "udp": _Newton(
        _CROSS,
        ((0, .5, -.5, 0, 0, 0, 0), (0, 0, 0, .5, -.5, 0, 0)),
        ((-2, 1, 1, 0, 0, 0, 0), (1, -.5, -.5, -.5, -.5, .5, .5), (-2, 0, 0, 1, 1, 0, 0)),
        float(np.finfo(np.float32).eps), (1e-3, 50.0), border=0, from_nowhere=True,
    ),
}
# fmt: on
# ------------------------------------------------------------------------------------------------


def heatmap_refinement(codec: Any, outputs: Mapping[str, Floats]) -> Refinement:
    """Of keypoints that a codec of mmpose decodes from heatmaps `[S, K, H, W]`.

    MSRAHeatmap without DARK and MegviiHeatmap step a quarter cell either way on each axis.
    """
    maps = next(iter(outputs.values()))
    udp, (height, width) = type(codec).__name__ == "UDPHeatmap", maps.shape[2:]
    cell = np.asarray(codec.input_size) / (np.asarray([width, height]) - int(udp))  # input px
    if udp and codec.heatmap_type == "combined":  # offsets are read at the peak of other maps
        return no_refinement(codec, {"output": maps[:, ::3]})
    if udp or getattr(codec, "unbiased", False):
        parts = _newton(_STEPS["udp" if udp else "dark"], maps, int(codec.blur_kernel_size))
        return Refinement(*parts, cell_px=float(cell.max()))
    flip_px = float(np.linalg.norm(cell / 2))
    return Refinement(**vars(no_refinement(codec, outputs)) | {"flip_px": flip_px})


def no_refinement(_codec: Any, outputs: Mapping[str, Floats]) -> Refinement:
    """Of keypoints that no Newton step moves; the outputs are `[S, K, ...]`."""
    samples, keypoints = next(iter(outputs.values())).shape[:2]
    none, pairs = np.zeros((samples, keypoints)), np.zeros((samples, keypoints, 2))
    return Refinement(none, pairs, pairs, none)


def _newton(step: _Newton, maps: Floats, kernel: int) -> Parts:
    """The first four fields of `Refinement` for maps `[S, K, H, W]`."""
    flat = maps.reshape(*maps.shape[:2], -1)
    (height, width), best, top = maps.shape[2:], flat.argmax(axis=-1), flat.max(axis=-1)
    y, x = best // width, best % width
    blurred = _blurred(maps, kernel)
    dx, dy = np.asarray(step.cells).T
    rows, columns = (y[..., None] + dy).clip(0, height - 1), (x[..., None] + dx).clip(0, width - 1)
    s, k = np.ogrid[: maps.shape[0], : maps.shape[1]]
    values = blurred[s[..., None], k[..., None], rows, columns]  # [S, K, cells]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = (top / blurred.max(axis=(2, 3)))[..., None]
        logarithms = np.log((values * scale).clip(*step.clip))
        least = values.clip(step.clip[0] / scale)
        low, high = values.min(axis=-1), values.max(axis=-1)
        near = low < _NEAR_CLIP * step.clip[0] / scale[..., 0]
        near |= high > step.clip[1] / _NEAR_CLIP / scale[..., 0]
    inside = (x >= step.border) & (x < width - step.border)
    inside &= (y >= step.border) & (y < height - step.border)
    taken = (top > 0) & np.isfinite(logarithms).all(axis=-1) & (inside | (step.border == 0))
    safe = np.where(taken[..., None], logarithms, 0.0)
    least = np.where(taken[..., None], least, 1.0) / np.where(near, 3, 1)[..., None]
    inverse, moved, bent = _condition(step, safe, least, kernel)
    elsewhere = step.from_nowhere & (top <= 0)
    inverse = np.where(elsewhere, np.inf, np.where(taken, inverse, 0.0))
    return inverse, moved, bent, least.min(axis=-1)


def _condition(
    step: _Newton, logarithms: Floats, least: Floats, kernel: int
) -> tuple[Floats, Floats, Floats]:
    """‖H⁻¹‖ `[S, K]`, |δg + δH s| and ‖δH‖ `[S, K, 2]`, of values `[S, K, cells]`."""
    weights_g, weights_h = np.asarray(step.gradient), np.asarray(step.hessian)[_ENTRIES]
    gradient = logarithms @ weights_g.T
    hessian = np.einsum("...c,ijc->...ij", logarithms, weights_h) + step.diagonal * np.eye(2)
    singular = np.linalg.svd(hessian, compute_uv=False)[..., -1]
    with np.errstate(divide="ignore"):
        inverse = 1 / singular
    solvable = np.where((singular > 0)[..., None, None], hessian, np.eye(2))
    s = -np.linalg.solve(solvable, gradient[..., None])[..., 0]
    moved = weights_g + np.einsum("...j,ijc->...ic", s, weights_h)  # [S, K, 2, cells]
    bent = np.broadcast_to(weights_h.reshape(4, -1), (*s.shape[:2], 4, len(step.cells)))
    shared = _shared(step.cells, kernel)
    rounds = _ROUNDING * np.sqrt(2 * kernel + 4 + np.abs(logarithms).max(axis=-1) ** 2)

    def size(weights: Floats) -> Floats:
        of_value = weights / least[..., None, :]
        error = np.einsum("...ic,cd,...id->...", of_value, shared, of_value)
        rounding = np.square(weights).sum(axis=(-1, -2)) * rounds**2
        return np.asarray(np.sqrt(np.stack([error, rounding], axis=-1)))

    return inverse, size(moved), size(bent)


def _shared(cells: tuple[tuple[int, int], ...], kernel: int) -> Floats:
    """A `[cells, cells]`: how much of the blur of two cells is the same, away from edges."""
    line = cv2.getGaussianKernel(kernel, 0)[:, 0]
    shared = np.correlate(line, line, "full")[kernel - 1 :]  # by distance; 0 from `kernel` on
    shared = np.concatenate([shared, np.zeros(5)])
    dx, dy = (np.abs(part[:, None] - part) for part in np.asarray(cells).T)
    return np.asarray(shared[dx] * shared[dy])


def _blurred(maps: Floats, kernel: int) -> Floats:
    """Over a border of zeros, in float32, as `gaussian_blur` of mmpose has it before it scales."""
    margin = kernel // 2
    result = np.empty_like(maps, dtype=np.float64)
    for index in np.ndindex(*maps.shape[:2]):
        padded = np.pad(maps[index].astype(np.float32), margin)
        whole = cv2.GaussianBlur(padded, (kernel, kernel), 0)
        result[index] = whole[margin:-margin, margin:-margin]
    return result
