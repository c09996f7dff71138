"""The exportable networks of heads that output coordinates.

`IntegralRegressionHead` and `DSNTHead` compute them from heatmaps. Their `forward` is written
anew: its reshapes would hold the batch that is traced, and its correction of the bias the
exponential of heatmaps, which float16 does not hold above 11.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.export.networks import TopDownNetwork


class RegressionNetwork(TopDownNetwork):
    """RegressionHead and RLEHead: a linear layer."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalized image [N, 3, H, W] → x and y as fractions of the input's size [N, K, 2].

        RLEHead: [N, K, 4], with the logits of both sigmas; or what is decoded of them.
        """
        return self._ending(self.model.head(self.model.extract_feat(image)))


class IntegralNetwork(TopDownNetwork):
    """IntegralRegressionHead and DSNTHead: the mean position in a softmax over a heatmap."""

    def __init__(
        self, model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
    ) -> None:
        super().__init__(model, model_config, deploy_config, stage)
        self.expectation = Expectation(model.head)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalized image [N, 3, H, W] → x and y as fractions of the input's size [N, K, 2]."""
        head, features = self.model.head, self.model.extract_feat(image)
        if head.simplebaseline_head is not None:
            maps = head.simplebaseline_head(features)
        else:
            maps = features[-1] if head.final_layer is None else head.final_layer(features[-1])
        return self._ending(self.expectation(maps))


class Expectation(nn.Module):
    """The positions that `IntegralRegressionHead.forward` computes of heatmaps."""

    x: Tensor
    y: Tensor

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.beta, self.debias = float(head.beta), bool(head.debias)
        self.keypoints = int(head.num_joints)
        self.cells = int(head.linspace_x.numel()), int(head.linspace_y.numel())
        self.register_buffer("x", head.linspace_x.detach().reshape(1, 1, -1).clone())
        self.register_buffer("y", head.linspace_y.detach().reshape(1, 1, -1).clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Heatmaps [N, K, h, w] → x and y [N, K, 2] as fractions of their size."""
        width, height = self.cells
        flat = maps.flatten(2)
        logits = flat if self.beta == 1 else flat * self.beta
        mass = logits.softmax(dim=2).reshape(-1, self.keypoints, height, width)
        x = (mass.sum(dim=2) * self.x).sum(dim=2, keepdim=True)
        y = (mass.sum(dim=3) * self.y).sum(dim=2, keepdim=True)
        point = torch.cat([x, y], dim=2)
        if not self.debias:
            return point
        # C / (C - 1) · (point - 1 / (2 C)), C the sum of exponentials (Gu et al., 2021), by 1 / C
        part = (-flat.logsumexp(dim=2, keepdim=True)).exp()
        return (point - part / 2) / (1 - part)


def regression_network(
    model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
) -> TopDownNetwork:
    """The network of a model, by its head."""
    integral = model_config.head in model_config.head_kind.with_heatmaps
    network = IntegralNetwork if integral else RegressionNetwork
    return network(model, model_config, deploy_config, stage)
