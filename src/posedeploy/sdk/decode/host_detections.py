"""`YOLOXPoseHostDetections` and `RTMOHostDetections`: people from graphs without suppression.

A backend that cannot hold non-maximum suppression (ncnn) ends its graph before it.  The first
component takes decoded candidates; the second takes the outputs of RTMO's last layers: decoding
all candidates of RTMO takes longer than the network, decoding the chosen ones almost no time.
The results are those of `DetectionsDecoder` on graphs that hold everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.sdk.decode.pose_decoder import PoseDecoder, read_pose_decoder
from posedeploy.sdk.decode.suppression import Suppression, suppression
from posedeploy.sdk.decode.types import Decoded, Outputs, floats, same_input_size
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
People = tuple[Floats, Floats, Floats]  # boxes [n, 4], scores [n], keypoints [n, K, 3]


@dataclass(frozen=True)
class DenseDecoder:
    """`boxes [N, P, 4]`, `scores [N, P, 1]`, `keypoints [N, P, K, 3]` in input px, to people.

    Attributes:
        input_size: Width and height of the network's input, px: boxes are clipped to it.
        rule: Which candidates stay.
    """

    input_size: tuple[int, int]
    rule: Suppression
    outputs: tuple[str, ...] = ("boxes", "scores", "keypoints")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, then by falling score."""
        boxes = floats(outputs, "boxes", ("N", "P", 4))
        scores = floats(outputs, "scores", (*boxes.shape[:2], 1))[..., 0]
        keypoints = floats(outputs, "keypoints", (*boxes.shape[:2], "K", 3))

        def people(i: int) -> People:
            chosen = self.rule.choose(boxes[i], scores[i])
            return boxes[i, chosen], scores[i, chosen], keypoints[i, chosen]

        return _decoded(people, len(boxes), self.input_size)


@dataclass(frozen=True)
class RawRtmoDecoder:
    """`cls [N, P, 1]`, `bbox [N, P, 4]`, `kpt_vis [N, P, K]`, `pose_vec [N, P, C]`, to people.

    Attributes:
        input_size: Width and height of the network's input, px.
        rule: Which candidates stay.
        pose: Decodes those that stay.
    """

    input_size: tuple[int, int]
    rule: Suppression
    pose: PoseDecoder
    outputs: tuple[str, ...] = ("cls", "bbox", "kpt_vis", "pose_vec")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, then by falling score."""
        priors = len(self.pose.points)
        cls = floats(outputs, "cls", ("N", priors, "C"))
        count = len(cls)
        bbox = floats(outputs, "bbox", (count, priors, 4))
        visible = floats(outputs, "kpt_vis", (count, priors, self.pose.joints))
        vectors = floats(outputs, "pose_vec", (count, priors, "C"))

        def people(i: int) -> People:
            scores = sigmoid(cls[i].max(axis=-1))
            boxes = self._boxes(bbox[i])
            chosen = self.rule.choose(boxes, scores)
            places = self.pose(vectors[i, chosen], boxes[chosen], self.pose.points[chosen])
            seen = sigmoid(visible[i, chosen])[..., None]
            return boxes[chosen], scores[chosen], np.concatenate([places, seen], axis=-1)

        return _decoded(people, count, self.input_size)

    def _boxes(self, offsets: Floats) -> Floats:
        """Offsets (dx, dy, log w, log h) `[P, 4]` in strides to boxes in input px."""
        stride = self.pose.strides[:, None]
        center = offsets[:, :2] * stride + self.pose.points
        # beyond this a side is longer than any image, and a little further it overflows
        half = np.exp(offsets[:, 2:].clip(max=np.float32(20))) * stride / 2
        return np.concatenate([center - half, center + half], axis=-1)


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    result: Floats = 1 / (1 + np.exp(-logits.clip(np.float32(-80))))
    return result


def _decoded(people: Callable[[int], People], images: int, input_size: tuple[int, int]) -> Decoded:
    found: Sequence[People] = [people(i) for i in range(images)]
    boxes, scores, keypoints = (np.concatenate(parts) for parts in zip(*found, strict=True))
    limits = np.array([*input_size, *input_size], np.float32)
    return Decoded(
        np.repeat(np.arange(images), [len(part[1]) for part in found]),
        keypoints[..., :2],
        keypoints[..., 2],
        boxes.clip(np.float32(0), limits),
        scores,
    )


def dense_decoder(params: Node, input_size: tuple[int, int]) -> DenseDecoder:
    """The decoder for the parameters of a `YOLOXPoseHostDetections`.

    Raises:
        BadInputError: A parameter is missing or wrong.
    """
    same_input_size(params, input_size)
    return DenseDecoder(input_size, suppression(params))


def raw_rtmo_decoder(params: Node, input_size: tuple[int, int], folder: Path) -> RawRtmoDecoder:
    """The decoder for the parameters of an `RTMOHostDetections`; its weights lie in `folder`.

    Raises:
        BadInputError: A parameter is missing or wrong, or so is the file of weights.
    """
    same_input_size(params, input_size)
    weights = params.at("weights")
    pose = read_pose_decoder(folder, weights.is_a(str), weights.subject)
    return RawRtmoDecoder(input_size, suppression(params), pose)
