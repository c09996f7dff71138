"""Some of a model's keypoints: `test_cfg.output_keypoint_indices` of MMPose's top-down models."""

from __future__ import annotations

from dataclasses import dataclass, replace

from posedeploy.sdk.decode import Decoded, Decoder, Outputs
from posedeploy.sdk.fields import Node

PARAMETER = "output_keypoint_indices"


@dataclass(frozen=True)
class SelectedKeypoints:
    """Another decoder's keypoints of these indices, in their order."""

    decoder: Decoder
    indices: Node  # an array of integers

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs it needs."""
        return self.decoder.outputs

    def decode(self, outputs: Outputs) -> Decoded:
        """People with the selected keypoints; a BadInputError for an index that none has."""
        decoded, chosen = self.decoder.decode(outputs), list(self.indices.value)
        last = decoded.points.shape[1] - 1
        if max(chosen) > last:
            raise self.indices.error(f"indices from 0 to {last}, of the graph's keypoints")
        points, scores = decoded.points[:, chosen], decoded.point_scores[:, chosen]
        visible = None if decoded.visible is None else decoded.visible[:, chosen]
        return replace(decoded, points=points, point_scores=scores, visible=visible)


def selected(decoder: Decoder, params: Node) -> Decoder:
    """The decoder, with the keypoints that the parameters select, if they select any.

    A BadInputError refuses what is no array of indices.
    """
    if not params.has(PARAMETER) or params.value[PARAMETER] is None:
        return decoder
    indices = params.at(PARAMETER)
    values = indices.all_of(int)
    if not values or min(values) < 0:
        raise indices.error("an array of indices from 0")
    return SelectedKeypoints(decoder, indices)
