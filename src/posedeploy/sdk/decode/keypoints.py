"""`SimCCLabelDecode` with `export_postprocess`: keypoints that the graph itself has decoded.

What is left to the host is to map them to the image. MMDeploy's client reads such a graph by the
names of SimCC's outputs, whatever they hold; so does this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from posedeploy.sdk.decode import Decoded, Outputs, floats
from posedeploy.sdk.decode.refine import only_numbers
from posedeploy.sdk.fields import Node


@dataclass(frozen=True)
class KeypointsDecoder:
    """`simcc_x [N, K, 2]` (x, y in input px) and `simcc_y [N, K]` (scores) to keypoints."""

    outputs: tuple[str, ...] = ("simcc_x", "simcc_y")

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row. Scores may have a last axis of 1, as some graphs of MMDeploy have."""
        points = floats(outputs, "simcc_x", ("N", "K", 2))
        scores = np.asarray(outputs["simcc_y"])
        if scores.ndim == 3 and scores.shape[2] == 1:
            scores = scores[..., 0]
        scores = floats({"simcc_y": scores}, "simcc_y", points.shape[:2])
        points, scores = only_numbers(points, scores)
        return Decoded(np.arange(len(points)), points, scores)


def keypoints_decoder(_params: Node, _input_size: tuple[int, int]) -> KeypointsDecoder:
    """The decoder of a graph that holds the decoding: none of its parameters is left to read."""
    return KeypointsDecoder()
