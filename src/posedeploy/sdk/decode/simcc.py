"""`SimCCLabelDecode`: two distributions a keypoint to keypoints (SimCC, RTMPose).

Equals `SimCCLabel.decode` of MMPose 1.3.2, with and without DARK, where the outputs are finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.decode import Decoded, Outputs, floats
from posedeploy.sdk.decode.refine import NO_PEAK, modulate_rows, only_numbers
from posedeploy.sdk.fields import Node


def dark_kernel(sigma: float) -> int:
    """Size of the blur for a label's sigma, bins: the largest odd integer <= (20 sigma - 7) / 3.

    MMPose's rule (`SimCCLabel.decode`), the inverse of OpenCV's default sigma for a kernel size.
    """
    size = int((sigma * 20 - 7) // 3)
    return size - int(size % 2 == 0)


@dataclass(frozen=True)
class SimCCDecoder:
    """`simcc_x [N, K, Wx]` and `simcc_y [N, K, Wy]` to keypoints."""

    input_size: tuple[int, int]  # width and height of the network's input, px
    split_ratio: float  # bins a pixel of the input
    dark_kernels: tuple[int, ...] = ()  # sizes of the blur in x and y, bins; () without DARK
    outputs: tuple[str, ...] = ("simcc_x", "simcc_y")

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row."""
        x_bins, y_bins = (int(side * self.split_ratio) for side in self.input_size)
        x = floats(outputs, "simcc_x", ("N", "K", x_bins))
        people, keypoints = x.shape[:2]
        axes = [x, floats(outputs, "simcc_y", (people, keypoints, y_bins))]
        rows = [axis.reshape(people * keypoints, -1) for axis in axes]
        peaks = np.stack([axis.argmax(axis=1) for axis in rows], axis=-1)
        row = np.arange(people * keypoints)
        heights = [axis[row, peaks[:, i]] for i, axis in enumerate(rows)]
        scores = np.where(heights[0] > heights[1], heights[1], heights[0])
        scores[~np.isfinite(heights).all(axis=0)] = np.nan
        points = peaks.astype(np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            for i, kernel in enumerate(self.dark_kernels):
                points[:, i] = _dark(peaks[:, i], rows[i], kernel)
        points[scores <= 0.0] = NO_PEAK
        points, scores = only_numbers(points, scores)
        points = (points / np.float32(self.split_ratio)).reshape(people, keypoints, 2)
        return Decoded(np.arange(people), points, scores.reshape(people, keypoints))


def _dark(peaks: NDArray[np.intp], rows: NDArray[np.float32], kernel: int) -> NDArray[np.float32]:
    """Newton step along `[M, W]` distributions, as `refine_simcc_dark`; bins."""
    padded = np.pad(modulate_rows(rows, kernel), ((0, 0), (2, 2)), mode="edge")

    def log_at(shift: int) -> NDArray[np.float32]:
        near = np.take_along_axis(padded, peaks[:, None] + 2 + shift, axis=1)[:, 0]
        return np.log(near.clip(np.float32(1e-3), np.float32(50.0)))  # type: ignore[no-any-return]

    half, quarter = np.float32(0.5), np.float32(0.25)
    slope = half * (log_at(1) - log_at(-1))
    curve = np.float32(1e-9) + quarter * (log_at(2) - 2 * log_at(0) + log_at(-2))
    return peaks.astype(np.float32) - slope / curve


def simcc_decoder(params: Node, input_size: tuple[int, int]) -> SimCCDecoder:
    """The decoder for the parameters of a `SimCCLabelDecode`."""
    for key, only in (("type", "SimCCLabel"), ("export_postprocess", False)):
        if params.has(key):
            params.at(key).one_of([only])
    ratio = params.get("simcc_split_ratio", float, 2.0)
    if not 0.01 <= ratio <= 100:
        raise params.at("simcc_split_ratio").error("a number from 0.01 to 100")
    kernels: tuple[int, ...] = ()
    if params.get("use_dark", bool, False):
        if isinstance(params.value.get("sigma"), list):
            sigmas = params.numbers("sigma", 2)
        else:  # 6 is SimCCLabel's default
            sigmas = 2 * (params.at("sigma").is_a(float) if params.has("sigma") else 6.0,)
        kernels = tuple(map(dark_kernel, sigmas))
        if not all(3 <= kernel <= 255 for kernel in kernels):
            raise params.at("sigma").error("values from 0.8 to 38, for use_dark")
    return SimCCDecoder(input_size, float(ratio), kernels)
