"""Associative embedding: the graph ends with heatmaps and tags; the host groups keypoints."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig


class AssociativeEmbeddingNetwork(nn.Module):
    """AssociativeEmbeddingHead: one heatmap and some tags a keypoint, in cells of the network."""

    def __init__(
        self, model: Any, _model_config: ModelConfig, _deploy_config: DeployConfig, _stage: str
    ) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K, h, w], tags [N, L·K, h, w]."""
        heatmaps, tags = self.model.head(self.model.extract_feat(image))
        return heatmaps, tags
