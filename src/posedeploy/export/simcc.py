"""The exportable module of SimCC heads: SimCCHead, and RTMCCHead of RTMPose."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SimccNetwork(nn.Module):
    """Image → one vector per keypoint and axis.

    Args:
        model: The mmpose estimator.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized image [N, 3, H, W] → simcc_x [N, K, W·ratio], simcc_y [N, K, H·ratio]."""
        simcc_x, simcc_y = self.model.head(self.model.extract_feat(image))
        return simcc_x, simcc_y


def build(model: Any, *_: object) -> SimccNetwork:
    """The network of a model; nothing of its configs matters."""
    return SimccNetwork(model)
