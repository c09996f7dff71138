"""`YOLOXPoseDetections` and `RTMODetections`: people that the graph itself found.

These component names are ours: MMDeploy writes `UNKNOWN` for such models, and no client of
its runs them.  The graph has decoded and suppressed already; what is left is to drop the zero
rows that pad `dets` to a fixed length, as MMPose does to clip the boxes, and to map back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posedeploy.sdk.decode.types import Decoded, Outputs, floats, same_input_size
from posedeploy.sdk.fields import Node


@dataclass(frozen=True)
class DetectionsDecoder:
    """`dets [N, M, 5]` and `keypoints [N, M, K, 3]`, in input px, to people.

    Attributes:
        input_size: Width and height of the network's input, px: boxes are clipped to it.
        score_threshold: People must score more than this; 0 drops just the padding.
    """

    input_size: tuple[int, int]
    score_threshold: float = 0.0
    outputs: tuple[str, ...] = ("dets", "keypoints")

    def decode(self, outputs: Outputs) -> Decoded:
        """All people of the batch, in the graph's order: by image, then by falling score."""
        dets = floats(outputs, "dets", ("N", "M", 5))
        keypoints = floats(outputs, "keypoints", (*dets.shape[:2], "K", 3))
        image, row = np.nonzero(dets[..., 4] > np.float32(self.score_threshold))
        boxes, people = dets[image, row], keypoints[image, row]
        limits = np.array([*self.input_size, *self.input_size], np.float32)
        return Decoded(
            image,
            people[..., :2],
            people[..., 2],
            boxes[:, :4].clip(np.float32(0.0), limits),
            boxes[:, 4],
        )


def detections_decoder(params: Node, input_size: tuple[int, int]) -> DetectionsDecoder:
    """The decoder for the parameters of a `YOLOXPoseDetections` or `RTMODetections`.

    Args:
        params: `params` of the component in `pipeline.json`; `score_thr` is obeyed.
        input_size: Width and height that the transforms warp to, px.

    Raises:
        BadInputError: A parameter is wrong.
    """
    same_input_size(params, input_size)
    threshold = params.get("score_thr", float, 0.0)
    if not 0 <= threshold < 1:
        raise params.at("score_thr").error("a number from 0 to below 1")
    return DetectionsDecoder(input_size, float(threshold))
