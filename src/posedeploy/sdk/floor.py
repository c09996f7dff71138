"""The least that a call takes: a warp of each region and a run of the graph, bare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2

from posedeploy.runtime import Arrays, Session
from posedeploy.sdk.images import Image
from posedeploy.sdk.transforms import Region


@dataclass(frozen=True)
class Floor:
    """What of a call no implementation can omit, to be timed beside the call.

    What the call takes above it is what is around the two: checks, normalization, the layout of
    the tensor, decoding.
    """

    regions: Sequence[Region]
    input_size: tuple[int, int]  # width and height of the network's input, px
    session: Session
    feeds: Sequence[Arrays]  # one a run: the tensors of the regions, as the graph takes them

    def warp(self) -> list[Image]:
        """One bare `cv2.warpAffine` of each region: `[h, w, 3]` uint8."""
        size = self.input_size
        return [cv2.warpAffine(r.image, r.matrix, size) for r in self.regions]  # type: ignore[misc]

    def run(self) -> list[Arrays]:
        """What the bare session outputs for the tensors, which are there already."""
        return [self.session.run(feed) for feed in self.feeds]
