"""CID: the graph ends with what is the same for every person, and the host decouples the people.

Which people there are depends on the image, so mmpose's second module has an input of another size
for each. It reads a person's feature vector through two linear layers: as 1x1 convolutions of all
features they are part of the graph, and the host takes their values at the people's centers. What
is left is small, and its weights are written beside the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig


class CidNetwork(nn.Module):
    """CIDHead: the map of the centers, the features, and each place's two attentions.

    The centers are logits: most of them are far below 0, and the sigmoids of backends are not as
    exact there as PyTorch's.
    """

    def __init__(
        self, model: Any, _model_config: ModelConfig, _deploy_config: DeployConfig, _stage: str
    ) -> None:
        super().__init__()
        self.model = model
        decoupling = model.head.gfd_module
        self.channel = _everywhere(decoupling.channel_attention.atn)
        self.spatial = _everywhere(decoupling.spatial_attention.atn)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Normalized image [N, 3, H, W] → centers [N, 1, h, w], features [N, C, h, w] and twice C.

        The last two are the vectors that a person whose center is at a place multiplies the
        features by, for its channel and for its spatial attention.
        """
        head, features = self.model.head, self.model.extract_feat(image)[-1]
        centers = head.iia_module.keypoint_root_conv(features)[:, -1:]
        reduced = head.gfd_module.conv_down(features)
        return centers, reduced, self.channel(features), self.spatial(features)


def _everywhere(linear: nn.Linear) -> nn.Conv2d:
    """A linear layer on the channels of every place."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight = nn.Parameter(linear.weight.detach().reshape(*linear.weight.shape, 1, 1))
    conv.bias = nn.Parameter(linear.bias.detach())
    return conv


def write_decoupling(model: Any, _input_size: tuple[int, int], path: Path) -> None:
    """Write what decouples the people of a model's `CIDHead` as an `.npz` of float32 arrays."""
    module, centers = model.head.gfd_module, model.head.iia_module.sigmoid
    layers = {
        "mask": module.spatial_attention.conv,
        "fuse": module.fuse_attention,
        "heatmap": module.heatmap_conv,
    }
    arrays: dict[str, Any] = {
        "center_limits": torch.tensor([centers.min, centers.max]),
        "limits": torch.tensor([module.sigmoid.min, module.sigmoid.max]),
    }
    for name, layer in layers.items():
        weight = layer.weight if name == "mask" else layer.weight[:, :, 0, 0]
        arrays |= {f"{name}_weight": weight, f"{name}_bias": layer.bias}
    ready: dict[str, Any] = {
        name: np.ascontiguousarray(array.detach().float().numpy())
        for name, array in arrays.items()
    }
    np.savez(path, **ready)
