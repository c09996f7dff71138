"""Heatmaps with visibilities, as MMPose's `VisPredictHead` outputs them, to keypoints.

The component is the one of heatmaps, `TopdownHeatmapSimpleHeadDecode`, with `visibility` set: a
client that does not know the parameter finds the same keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from posedeploy.sdk.decode import Decoded, Outputs, floats
from posedeploy.sdk.decode.heatmap import HeatmapDecoder, heatmap_decoder
from posedeploy.sdk.fields import Node

OUTPUT = "visibility"


@dataclass(frozen=True)
class VisibilityDecoder:
    """`output [N, K, H, W]` and `visibility [N, K]`, probabilities, to keypoints."""

    heatmaps: HeatmapDecoder

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs it needs."""
        return (*self.heatmaps.outputs, OUTPUT)

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row of `output`."""
        decoded = self.heatmaps.decode(outputs)
        return replace(decoded, visible=floats(outputs, OUTPUT, decoded.point_scores.shape))


def visibility_decoder(params: Node, input_size: tuple[int, int]) -> VisibilityDecoder:
    """The decoder for the parameters of heatmaps that come with visibilities."""
    return VisibilityDecoder(heatmap_decoder(params, input_size))
