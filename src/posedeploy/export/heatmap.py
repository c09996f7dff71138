"""The exportable module of heads that output heatmaps: HeatmapHead, CPMHead, MSPNHead."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class HeatmapNetwork(nn.Module):
    """Image → heatmaps of the last stage.

    Args:
        model: The mmpose estimator.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K, h, w]."""
        heatmaps = self.model.head(self.model.extract_feat(image))
        # CPMHead and MSPNHead output every stage; their `predict` decodes the last
        return (heatmaps[-1] if isinstance(heatmaps, list | tuple) else heatmaps,)


def build(model: Any, *_: object) -> HeatmapNetwork:
    """The network of a model; nothing of its configs matters."""
    return HeatmapNetwork(model)
