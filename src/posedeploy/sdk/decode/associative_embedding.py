"""`AssociativeEmbeddingDecode`: people from heatmaps and tags, as MMPose's `AssociativeEmbedding`.

Newell et al., "Associative Embedding" (NeurIPS 2017). Each keypoint's peaks are its candidates;
those whose tags are near each other are of one person. Where a person lacks a keypoint, it gets
the best place of a tag like its own. The order of operations is that of MMPose 1.3.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posedeploy.codecs import codec_of
from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import MISMATCH, Decoded, Outputs, floats
from posedeploy.sdk.decode.assignment import assign
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
from posedeploy.sdk.decode.refine import quarter_shift
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
NO_COLUMN = 1e10  # cost of a candidate that begins a person, where there are too few people
A_TAG = 100  # cost of a difference of tags of 1, against a heatmap's value


@dataclass(frozen=True)
class AssociativeEmbeddingDecoder:
    """`heatmaps [N, K, h, w]` and `tags [N, L·K, h, w]` to people."""

    input_size: tuple[int, int]  # width and height of the network's input, px
    heatmap_size: tuple[int, int]  # width, height in cells, of the maps that are decoded
    order: tuple[int, ...]  # keypoints, in the order in which they are grouped
    resize: bool  # whether the maps are resized to the input's size first
    align_corners: bool  # of the resizing
    kernel: int  # of the square in which a candidate is the largest, cells
    candidates: int  # of a keypoint, best first
    threshold: float  # lower limit of a candidate's value, exclusive
    tag_threshold: float  # upper limit of the difference of a person's tags, exclusive
    center_shift: float  # that is added to coordinates of candidates, cells
    most: int  # people of an image
    outputs: tuple[str, ...] = ("heatmaps", "tags")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, in the order in which they were begun."""
        keypoints = len(self.order)
        heatmaps = floats(outputs, "heatmaps", ("N", keypoints, "H", "W"))
        count, _, height, width = heatmaps.shape
        tags = floats(outputs, "tags", (count, "C", height, width))
        if tags.shape[1] % keypoints:
            raise BadInputError(
                "graph output 'tags'", f"{tags.shape[1]} channels",
                f"a multiple of {keypoints}, the keypoints", MISMATCH,
            )  # fmt: skip
        return decoded(lambda i: self._people(heatmaps[i], tags[i]), count)

    def _people(self, heatmaps: Floats, tags: Floats) -> Grouped:
        if self.resize:
            heatmaps, tags = (
                resized(maps, self.input_size, self.align_corners) for maps in (heatmaps, tags)
            )
        keypoints, height, width = heatmaps.shape
        peaks = only_peaks(heatmaps, self.kernel).reshape(keypoints, -1)
        values, places = largest(peaks, self.candidates)
        own = tags.reshape(-1, keypoints, height * width)  # L tags of each keypoint
        at_peaks = np.take_along_axis(own, places[None], axis=2).transpose(1, 2, 0)
        cells = np.stack(np.divmod(places, width)[::-1], axis=-1).astype(np.float32)
        points, scores = self._groups(values, at_peaks, cells)
        of_people = scores.mean(axis=1)
        for person, valued in zip(points, scores, strict=True):
            np.copyto(person, quarter_shift(person, heatmaps))
            np.add(person, np.float32(self.center_shift), out=person, where=valued[:, None] > 0)
            _fill(person, valued, heatmaps, own.reshape(-1, *heatmaps.shape))
        scale = (np.array(self.input_size) / self.heatmap_size).astype(np.float32)
        return Grouped(points * scale, scores, of_people)

    def _groups(self, values: Floats, tags: Floats, cells: Floats) -> tuple[Floats, Floats]:
        """Points `[P, K, 2]` and scores `[P, K]`, zeros where a person has no candidate.

        Of candidates' values `[K, M]`, tags `[K, M, L]` and cells `[K, M, 2]`. As
        `_group_keypoints_by_tags`: a person is known by the first tag that it was begun with.
        """
        people: dict[float, Floats] = {}  # rows of x, y and value, a keypoint each
        tags_of: dict[float, list[Floats]] = {}
        for keypoint in self.order:
            chosen = values[keypoint] > np.float32(self.threshold)
            own, value = tags[keypoint, chosen], values[keypoint, chosen]
            rows = np.concatenate([cells[keypoint, chosen], value[:, None]], axis=1)
            known = list(people)
            pairs = self._pairs(own, value, [np.mean(tags_of[key], axis=0) for key in known])
            for row, column in pairs:
                if column is None:
                    key = float(own[row, 0])
                    tags_of[key] = [own[row]]
                else:
                    key = known[column]
                    tags_of[key].append(own[row])
                blank = np.zeros((len(self.order), 3), np.float32)
                people.setdefault(key, blank)[keypoint] = rows[row]
        found = list(people.values())[: self.most]
        groups = np.stack(found) if found else np.zeros((0, len(self.order), 3), np.float32)
        return groups[..., :2].copy(), groups[..., 2].copy()

    def _pairs(
        self, tags: Floats, values: Floats, of_people: list[Floats]
    ) -> list[tuple[int, int | None]]:
        """Candidates that are taken, and whose they are; None for a new person's."""
        if not len(tags):
            return []
        if not of_people:
            return [(row, None) for row in range(len(tags))]
        # float64, as in mmpose: the values are the same for every person, and must stay so
        apart = np.linalg.norm(tags[:, None].astype(np.float64) - np.array(of_people), axis=2)
        costs = np.round(apart) * A_TAG - values[:, None]
        missing = max(0, len(tags) - len(of_people))
        costs = np.pad(costs, ((0, 0), (0, missing)), constant_values=NO_COLUMN)
        return [
            (row, column if column < len(of_people) and self._near(apart, row, column) else None)
            for row, column in assign(costs)
        ]

    def _near(self, apart: NDArray[np.float64], row: int, column: int) -> bool:
        return bool(apart[row, column] < self.tag_threshold)


def _fill(points: Floats, scores: Floats, heatmaps: Floats, tags: Floats) -> None:
    """Give the keypoints without a score, of one person, a place, in place.

    Points `[K, 2]` in cells, scores `[K]`; tags are `[L, K, h, w]`.
    """
    height, width = heatmaps.shape[1:]
    (seen,) = np.nonzero(scores > 0)
    x, y = points[seen].astype(np.int64).T
    tag = tags[:, seen, y.clip(0, height - 1), x.clip(0, width - 1)].T.mean(axis=0)
    for keypoint in np.flatnonzero(~(scores > 0)):
        apart = np.linalg.norm(tags[:, keypoint] - tag[:, None, None], axis=0)
        costs = np.round(apart) * A_TAG - heatmaps[keypoint]
        row, column = np.unravel_index(costs.argmin(), costs.shape)
        points[keypoint] = column, row
        scores[keypoint] = heatmaps[keypoint, row, column]


def resized(maps: Floats, size: tuple[int, int], align_corners: bool) -> Floats:
    """Maps `[M, h, w]` of another (W, H), bilinear, as `torch.nn.functional.interpolate`.

    Beyond the middle of the outermost cells a map is constant, here to the last bit.
    """
    height, width = maps.shape[1:]
    if (width, height) == size:
        return maps
    low, high, part = _places(width, size[0], align_corners)
    across = maps[..., low] + part * (maps[..., high] - maps[..., low])
    low, high, part = _places(height, size[1], align_corners)
    result: Floats = across[:, low] + part[:, None] * (across[:, high] - across[:, low])
    return result


def _places(
    before: int, after: int, align_corners: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """The two cells that each new one lies between, and how far it is from the first."""
    steps = np.arange(after, dtype=np.float32)
    if align_corners:
        place = steps * np.float32((before - 1) / max(after - 1, 1))
    else:
        place = ((steps + np.float32(0.5)) * np.float32(before / after) - np.float32(0.5)).clip(0)
    low = np.minimum(place.astype(np.intp), before - 1)
    return low, np.minimum(low + 1, before - 1), (place - low).astype(np.float32)


def associative_embedding_decoder(
    params: Node, input_size: tuple[int, int]
) -> AssociativeEmbeddingDecoder:
    """The decoder for the parameters of an `AssociativeEmbeddingDecode`."""
    codec = codec_of("AssociativeEmbedding")
    if codec is None:
        raise LookupError("AssociativeEmbedding")
    order = params.at("decode_keypoint_order")
    keypoints = order.all_of(int)
    if not keypoints or sorted(keypoints) != list(range(len(keypoints))):
        raise order.error("every keypoint's index once")
    if params.has("use_udp"):
        params.at("use_udp").one_of([False])
    shift = params.get("decode_center_shift", float, codec.default("decode_center_shift"))
    return AssociativeEmbeddingDecoder(
        input_size=input_size,
        heatmap_size=params.size("heatmap_size"),
        order=keypoints,
        resize=params.get("restore_heatmap_size", bool, False),
        align_corners=params.get("align_corners", bool, False),
        kernel=kernel_of(params, "decode_nms_kernel", codec.default("decode_nms_kernel")),
        candidates=count_of(params, "decode_topk", codec.default("decode_topk")),
        threshold=level_of(params, "decode_keypoint_thr", codec.default("decode_keypoint_thr")),
        tag_threshold=level_of(params, "decode_tag_thr", codec.default("decode_tag_thr")),
        center_shift=float(shift),
        most=count_of(params, "decode_max_instances", MAX_COUNT),
    )
