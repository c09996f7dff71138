"""`CIDDecode`: people from the maps of a CID model, as MMPose 1.3.2's `CIDHead`.

Wang and Zhang, "Contextual Instance Decoupling for Robust Multi-Person Pose Estimation" (CVPR
2022). A peak of the centers' map is a person. The vectors there turn the features that all people
share into those of the person, and two small layers these into a heatmap for each keypoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import MISMATCH, Decoded, Outputs, floats
from posedeploy.sdk.decode.arrays import Shape, read_arrays
from posedeploy.sdk.decode.people import (
    Grouped,
    count_of,
    decoded,
    kernel_of,
    largest,
    level_of,
    only_peaks,
)
from posedeploy.sdk.decode.refine import peaks, quarter_shift
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
# C channels, D twice as many, K keypoints
SHAPES: Mapping[str, Shape] = {
    "mask_weight": (1, 3, 5, 5), "mask_bias": (1,), "fuse_weight": ("C", "D"),
    "fuse_bias": ("C",), "heatmap_weight": ("K", "C"), "heatmap_bias": ("K",), "limits": (2,),
    "center_limits": (2,),
}  # fmt: skip
DISTANCE = 32.0  # cells that are 1 in the map of distances: `SpatialAttention.forward` of mmpose
# (mean of a map's sides above which it counts, side of the square in which a center is the
# largest), cells: `IIAModule._hierarchical_pool` of mmpose
SQUARES = ((300, 7), (200, 5), (0, 3))
DEFAULT_BLUR, MOST_PEOPLE, THRESHOLD = 3, 30, 0.01  # mmpose's defaults of the `test_cfg`


@dataclass(frozen=True)
class CidDecoder:
    """Logits `centers [N, 1, h, w]`, `features`, `channel`, `spatial [N, C, h, w]` to people."""

    input_size: tuple[int, int]  # width and height of the network's input, px
    heatmap_size: tuple[int, int]  # width, height in cells
    blur: int  # side of the square over which heatmaps are averaged, cells
    most: int  # people of an image, best first
    threshold: float  # lower limit of a center's value, exclusive
    arrays: Mapping[str, Floats]  # of the names of `SHAPES`
    outputs: tuple[str, ...] = ("centers", "features", "channel", "spatial")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, best first."""
        size = self.heatmap_size[::-1]
        centers = floats(outputs, "centers", ("N", 1, *size))
        count, channels = len(centers), len(self.arrays["fuse_bias"])
        features, channel, spatial = (
            floats(outputs, name, (count, channels, *size)) for name in self.outputs[1:]
        )
        return decoded(
            lambda i: self._people(centers[i], features[i], channel[i], spatial[i]), count
        )

    def _people(
        self, centers: Floats, features: Floats, channel: Floats, spatial: Floats
    ) -> Grouped:
        width, height = self.heatmap_size
        mean_side = (width + height) / 2
        square = next(side for limit, side in SQUARES if mean_side > limit)
        values = _sigmoid(centers).clip(*self.arrays["center_limits"])
        found = only_peaks(smoothed(values, self.blur), square)
        values, places = largest(found.reshape(1, -1), self.most)
        chosen = values[0] > np.float32(self.threshold)
        points, scores = [], []
        for value, place in zip(values[0, chosen], places[0, chosen], strict=True):
            row, column = divmod(int(place), width)
            vectors = channel[:, row, column], spatial[:, row, column]
            heatmaps = smoothed(self._heatmaps(features, *vectors, column, row), self.blur)
            cells, best = peaks(heatmaps)
            points.append(quarter_shift(cells, heatmaps))
            scores.append(best * value)
        keypoints = len(self.arrays["heatmap_bias"])
        size = (np.array(self.input_size) / self.heatmap_size).astype(np.float32)
        placed = np.asarray(points, np.float32).reshape(-1, keypoints, 2) * size + size / 2
        of_points = np.asarray(scores, np.float32).reshape(-1, keypoints)
        return Grouped(placed.astype(np.float32), of_points, of_points.mean(axis=1))

    def _heatmaps(
        self, features: Floats, channel: Floats, spatial: Floats, column: int, row: int
    ) -> Floats:
        """A person's heatmaps `[K, h, w]`, as `GFDModule.forward`; its center is at that cell."""
        arrays, (channels, height, width) = self.arrays, features.shape
        flat = features.reshape(channels, -1)
        across = np.broadcast_to(column - np.arange(width) - 0.5, (height, width)) / DISTANCE
        down = (
            np.broadcast_to((row - np.arange(height) - 0.5)[:, None], (height, width)) / DISTANCE
        )
        planes = (spatial @ flat).reshape(height, width), across, down
        mask = sum(
            cv2.filter2D(
                np.ascontiguousarray(plane, np.float32), cv2.CV_32F, kernel,
                borderType=cv2.BORDER_CONSTANT,
            )
            for plane, kernel in zip(planes, arrays["mask_weight"][0], strict=True)
        )  # fmt: skip
        mask = _sigmoid(mask + arrays["mask_bias"]).reshape(1, -1)
        attended = np.concatenate([flat * channel[:, None], flat * mask])
        fused = arrays["fuse_weight"] @ attended + arrays["fuse_bias"][:, None]
        mixed = arrays["heatmap_weight"] @ np.maximum(fused, np.float32(0))
        low, high = arrays["limits"]
        heatmaps = _sigmoid(mixed + arrays["heatmap_bias"][:, None]).clip(low, high)
        return heatmaps.reshape(-1, height, width)


def smoothed(maps: Floats, kernel: int) -> Floats:
    """The mean of maps `[M, h, w]` and of their averages over a square, zeros beyond the edges."""
    averages = [
        cv2.boxFilter(image, cv2.CV_32F, (kernel, kernel), borderType=cv2.BORDER_CONSTANT)
        for image in maps
    ]
    result: Floats = (maps + np.asarray(averages, np.float32)) / np.float32(2)
    return result


def _sigmoid(logits: Floats) -> Floats:
    return 1 / (1 + np.exp(-logits.clip(np.float32(-80))))  # type: ignore[no-any-return]


def cid_decoder(params: Node, input_size: tuple[int, int], folder: Path) -> CidDecoder:
    """The decoder for the parameters of a `CIDDecode`; its weights lie in `folder`."""
    weights = params.at("weights")
    name = weights.is_a(str)
    arrays = read_arrays(folder, name, weights.subject, SHAPES)
    channels, twice = arrays["fuse_weight"].shape
    if twice != 2 * channels:
        raise BadInputError(
            name, f"'fuse_weight' of shape {[channels, twice]}", f"{[channels, 2 * channels]}",
            MISMATCH,
        )  # fmt: skip
    return CidDecoder(
        input_size=input_size,
        heatmap_size=params.size("heatmap_size"),
        blur=kernel_of(params, "blur_kernel_size", DEFAULT_BLUR),
        most=count_of(params, "max_instances", MOST_PEOPLE),
        threshold=level_of(params, "score_threshold", THRESHOLD),
        arrays=arrays,
    )
