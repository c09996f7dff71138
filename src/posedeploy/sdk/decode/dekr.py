"""`DEKRDecode`: people from heatmaps and displacements, as MMPose 1.3.2's `SPR` and `DEKRHead`.

Geng et al., "Bottom-Up Human Pose Estimation Via Disentangled Keypoint Regression" (CVPR 2021).
A peak of the last heatmap is the center of a person; the displacements there lead to its
keypoints, and their own heatmaps score them. Of people whose keypoints are near each other the
best one stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.codecs import codec_of
from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import MISMATCH, Decoded, Outputs, floats
from posedeploy.sdk.decode.arrays import Shape, read_arrays, wrong_arrays
from posedeploy.sdk.decode.people import (
    MAX_COUNT,
    Grouped,
    count_of,
    decoded,
    kernel_of,
    largest,
    level_of,
    only_peaks,
)
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
MOST_PEOPLE = 30  # default of mmpose's `max_num_people`, and of the codec's `decode_max_instances`
# L links, F features, H hidden
SHAPES: Mapping[str, Shape] = {
    "links": ("L", 2), "torso": (2,), "l1_weight": ("H", "F"), "l1_bias": ("H",),
    "l2_weight": ("H", "H"), "l2_bias": ("H",), "l3_weight": (1, "H"), "l3_bias": (1,),
}  # fmt: skip


class RescoreNet:
    """Scores poses by the lengths of their limbs, from weights of the names of `SHAPES`."""

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        self._arrays = dict(arrays)
        self._links = arrays["links"].astype(np.intp)
        self._torso = arrays["torso"].astype(np.intp)
        self.keypoints = arrays["l1_weight"].shape[1] - 3 * len(self._links)

    def __call__(self, points: Floats, scores: Floats) -> Floats:
        """Factors `[P]` of poses `[P, K, 2]` (input px) with scores `[P, K]`."""
        limbs = points[:, self._links[:, 0]] - points[:, self._links[:, 1]]
        lengths = np.sqrt((limbs * limbs).sum(axis=-1))
        size = np.maximum(lengths[:, self._torso].mean(axis=1, keepdims=True), np.float32(1))
        flat = limbs.reshape(len(points), 2 * len(self._links)) / size
        parts = flat, lengths / size, scores
        features, arrays = np.concatenate(parts, axis=1), self._arrays
        for layer in ("l1", "l2"):
            mixed = features @ arrays[f"{layer}_weight"].T + arrays[f"{layer}_bias"]
            features = np.maximum(mixed, np.float32(0))
        factors = (features @ arrays["l3_weight"].T + arrays["l3_bias"])[:, 0]
        return np.where(np.isnan(factors), np.float32(0), factors)


@dataclass(frozen=True)
class DekrDecoder:
    """`heatmaps [N, K + 1, h, w]` and `displacements [N, 2K, h, w]` (cells) to people."""

    input_size: tuple[int, int]  # width and height of the network's input, px
    heatmap_size: tuple[int, int]  # width, height in cells
    kernel: int  # of the square in which a center is the largest, cells
    most: int  # candidates of an image, best first
    threshold: float  # lower limit of a center's value, exclusive
    near: float  # keypoints at most this part of a person's size apart are near; 0 keeps all
    joints: int | None  # near keypoints of two people above which one goes; None for half of them
    most_people: int  # people of an image
    rescore: RescoreNet | None = None
    outputs: tuple[str, ...] = ("heatmaps", "displacements")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, best first."""
        size = self.heatmap_size[::-1]
        heatmaps = floats(outputs, "heatmaps", ("N", "C", *size))
        count, channels = heatmaps.shape[:2]
        moves = floats(outputs, "displacements", (count, 2 * (channels - 1), *size))
        if self.rescore is not None and self.rescore.keypoints != channels - 1:
            raise BadInputError(
                "graph output 'heatmaps'", f"{channels - 1} keypoints",
                f"{self.rescore.keypoints}, as the net that scores poses has", MISMATCH,
            )  # fmt: skip
        return decoded(lambda i: self._people(heatmaps[i], moves[i]), count)

    def _people(self, heatmaps: Floats, moves: Floats) -> Grouped:
        width, height = self.heatmap_size
        centers = only_peaks(heatmaps[-1:], self.kernel).reshape(1, -1)
        values, places = largest(centers, self.most)
        chosen = values[0] > np.float32(self.threshold)
        values, places = values[0][chosen], places[0][chosen]
        cells = np.stack(np.divmod(places, width)[::-1], axis=-1).astype(np.float32)
        at_center = moves.reshape(-1, 2, width * height)[:, :, places]
        points = cells[:, None] + at_center.transpose(2, 0, 1)
        scores = sampled(heatmaps[:-1], points)
        points = points * (np.array(self.input_size) / self.heatmap_size).astype(np.float32)
        kept = self._kept(points, scores)
        people = values if self.rescore is None else values * self.rescore(points, scores)
        points, scores = points[kept], (people[:, None] * scores)[kept]
        return Grouped(points, scores, scores.mean(axis=1))

    def _kept(self, points: Floats, scores: Floats) -> NDArray[np.intp]:
        """Indices of people `[P, K, 2]` that are not near a better one, as `nearby_joints_nms`."""
        everybody = np.arange(len(points))
        if self.near <= 0 or not len(points):
            return everybody
        sizes = np.linalg.norm(points.max(axis=1) - points.min(axis=1), axis=-1)
        apart = np.linalg.norm(points[:, None] - points, axis=-1)
        close = (apart < (sizes * self.near)[:, None, None]).sum(axis=-1)
        joints = points.shape[1] // 2 if self.joints is None else self.joints
        best, gone, kept = scores.mean(axis=1), np.zeros(len(points), bool), []
        for one in np.argsort(best)[::-1]:
            others = everybody[close[one] > joints]
            if gone[one] or not len(others):
                continue
            winner = others[np.argmax(best[others])]
            if not gone[winner]:
                kept.append(winner)
                gone[others] = True
        if len(kept) > self.most_people:
            order = np.argsort(best[kept])[::-1]
            kept = [kept[i] for i in order[: self.most_people]]
        return np.asarray(kept, np.intp)


def sampled(maps: Floats, points: Floats) -> Floats:
    """Values `[P, K]` of maps `[K, h, w]` at points `[P, K, 2]` in cells, edges repeated.

    As `SPR.get_keypoint_scores`: PyTorch's `grid_sample` without `align_corners`, for coordinates
    that were made for it with them, so a place moves by up to half a cell.
    """
    keypoints, height, width = maps.shape
    sides = np.array([width, height], np.float32)
    grid = points / (sides - 1) * 2 - 1
    places = (((grid + 1) * sides - 1) / 2).clip(0, sides - 1)
    low = np.floor(places)
    part, first = places - low, low.astype(np.intp)
    second = np.minimum(first + 1, (sides - 1).astype(np.intp))
    row = np.arange(keypoints)

    def value(x: NDArray[np.intp], y: NDArray[np.intp]) -> Floats:
        found: Floats = maps[row, y, x]
        return found

    (x0, y0), (x1, y1) = np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0)
    across, down = np.moveaxis(part, -1, 0)
    above = value(x0, y0) * (1 - across) + value(x1, y0) * across
    below = value(x0, y1) * (1 - across) + value(x1, y1) * across
    result: Floats = (above * (1 - down) + below * down).astype(np.float32, copy=False)
    return result


def dekr_decoder(params: Node, input_size: tuple[int, int], folder: Path) -> DekrDecoder:
    """The decoder for the parameters of a `DEKRDecode`; the weights, if any, lie in `folder`."""
    codec = codec_of("SPR")
    if codec is None:
        raise LookupError("SPR")
    params.at("generate_keypoint_heatmaps").one_of([True])
    joints = params.value.get("nms_joints_thr")
    return DekrDecoder(
        input_size=input_size,
        heatmap_size=params.size("heatmap_size"),
        kernel=kernel_of(params, "decode_nms_kernel", codec.default("decode_nms_kernel")),
        most=count_of(params, "decode_max_instances", MOST_PEOPLE),
        threshold=level_of(params, "decode_thr", codec.default("decode_thr")),
        near=level_of(params, "nms_dist_thr", 0.0),
        joints=None if joints is None else params.at("nms_joints_thr").is_a(int),
        most_people=min(count_of(params, "max_num_people", MOST_PEOPLE), MAX_COUNT),
        rescore=_rescore(params, folder) if params.has("weights") else None,
    )


def _rescore(params: Node, folder: Path) -> RescoreNet:
    node = params.at("weights")
    name = node.is_a(str)
    arrays = read_arrays(folder, name, node.subject, SHAPES)
    links, torso = arrays["links"], arrays["torso"]
    net = RescoreNet(arrays)
    whole = all((a == np.round(a)).all() and a.min() >= 0 for a in (links, torso))
    if net.keypoints < 1 or not whole or links.max() >= net.keypoints or torso.max() >= len(links):
        raise wrong_arrays(
            name, "links of other keypoints", "links of the keypoints that it scores"
        )
    return net
