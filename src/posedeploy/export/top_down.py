"""The exportable modules of top-down models, whose outputs are those of the head."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class HeatmapNetwork(nn.Module):
    """HeatmapHead, CPMHead and MSPNHead: image → heatmaps of the last stage."""

    def __init__(self, model: Any, *_configs: object) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K, h, w]."""
        heatmaps = self.model.head(self.model.extract_feat(image))
        # CPMHead and MSPNHead output every stage; their `predict` decodes the last
        return (heatmaps[-1] if isinstance(heatmaps, list | tuple) else heatmaps,)


class SimccNetwork(nn.Module):
    """SimCCHead and RTMCCHead: image → one vector per keypoint and axis."""

    def __init__(self, model: Any, *_configs: object) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized image [N, 3, H, W] → simcc_x [N, K, W·ratio], simcc_y [N, K, H·ratio]."""
        simcc_x, simcc_y = self.model.head(self.model.extract_feat(image))
        return simcc_x, simcc_y
