"""DEKR: the graph ends with heatmaps and displacements, and the host puts people together of them.

The adaptive convolutions of its head are written as samples of a grid (ONNX's `GridSample`), one
keypoint's channels after the other, so that every tensor has the batch as its first axis and four
axes at most, as ncnn needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError

CELLS = 9  # of the adaptive convolution's kernel of 3x3


class AdaptiveBlock(nn.Module):
    """mmpose's `AdaptiveActivationBlock` for maps [N, C, h, w] of one size.

    An affine matrix [2, 3] for each place and keypoint moves the nine cells of its kernel.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, block: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.groups, (self.height, self.width) = int(block.groups), size
        self.matrix, self.norm, self.act = block.transform_matrix_conv, block.norm, block.act
        weight = block.adapt_conv.weight
        self.channels = int(weight.shape[1])  # of one keypoint
        # coordinates of a grid are -1 in the middle of the first cell and 1 in that of the last
        scale = torch.tensor([2.0 / (side - 1) for side in size])
        self.moves = nn.Conv2d(
            6 * self.groups, 2 * CELLS * self.groups, 1, groups=self.groups, bias=False
        )
        # offset [axis, cell] = sum of matrix[axis, j] * regular[j, cell]; y comes first, then x
        regular = block.regular_matrix.to(scale)
        kernel = torch.zeros(2, CELLS, 2, 3)
        for axis in (0, 1):
            kernel[axis, :, axis] = regular.T * scale[axis]
        kernel = kernel.reshape(2 * CELLS, 6, 1, 1).repeat(self.groups, 1, 1, 1)
        self.moves.weight = nn.Parameter(kernel)
        self.mix = nn.Conv2d(
            self.groups * self.channels * CELLS, len(weight), 1, groups=self.groups, bias=False
        )
        self.mix.weight = nn.Parameter(weight.detach().reshape(len(weight), -1, 1, 1))
        step = torch.arange(-1.0, 2.0)  # the kernel without offsets, one px beyond the center
        y = torch.arange(float(self.height)).reshape(1, -1, 1) + step.repeat_interleave(3).reshape(
            -1, 1, 1
        )
        x = torch.arange(float(self.width)).reshape(1, 1, -1) + step.repeat(3).reshape(-1, 1, 1)
        shape = (1, CELLS, *size)
        self.register_buffer("rows", (y * scale[0] - 1).expand(shape).clone())
        self.register_buffer("columns", (x * scale[1] - 1).expand(shape).clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Maps [N, C, h, w] → [N, C, h, w]."""
        moves = self.moves(self.matrix(maps))
        sampled = [
            self._sampled(own, move)
            for own, move in zip(
                torch.split(maps, self.channels, dim=1),
                torch.split(moves, 2 * CELLS, dim=1),
                strict=True,
            )
        ]
        result: Tensor = self.act(self.norm(self.mix(torch.cat(sampled, dim=1))) + maps)
        return result

    def _sampled(self, maps: Tensor, moves: Tensor) -> Tensor:
        """One keypoint's channels [N, c, h, w] at its places [N, 18, h, w] → [N, 9 · c, h, w]."""
        tall = (-1, 1, CELLS * self.height, self.width)
        y, x = torch.split(moves, CELLS, dim=1)
        grid = torch.cat(
            [(x + self.columns).reshape(tall), (y + self.rows).reshape(tall)], dim=1
        ).permute(0, 2, 3, 1)
        sampled = nn.functional.grid_sample(maps, grid, align_corners=True)
        return sampled.reshape(-1, self.channels * CELLS, self.height, self.width)


class DekrNetwork(nn.Module):
    """DEKRHead: heatmaps of the keypoints and of the people's centers, and displacements."""

    def __init__(
        self, model: Any, model_config: ModelConfig, deploy_config: DeployConfig, _stage: str
    ) -> None:
        super().__init__()
        self.model = model
        width, height = deploy_config.input_shape or model_config.input_size
        with torch.no_grad():
            image = torch.zeros(1, 3, height, width, dtype=next(model.parameters()).dtype)
            size = model.extract_feat(image)[-1].shape[2:]
        layers = model.head.displacement_conv_layers
        for name, layer in list(layers.named_children()):
            if hasattr(layer, "adapt_conv"):
                setattr(layers, name, AdaptiveBlock(layer, (int(size[0]), int(size[1]))))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K + 1, h, w], displacements [N, 2K, h, w].

        The last heatmap is that of the centers. Displacements are in cells, x and y alternate.
        """
        heatmaps, displacements = self.model.head(self.model.extract_feat(image))
        return heatmaps, displacements


def write_rescore_net(model: Any, _input_size: tuple[int, int], path: Path) -> None:
    """Write the net that scores poses as an `.npz` of float32 arrays; nothing without one.

    mmpose uses it where the test pipeline hands on the skeleton, as `meta_keys` of its last step.

    Raises:
        BadInputError: It takes another number of features than the data set's skeleton makes.
    """
    net, links = model.head.rescore_net, list(model.dataset_meta.get("skeleton_links") or ())
    packed = model.cfg.test_dataloader.dataset.pipeline[-1].get("meta_keys", ())
    if net is None or not links or "skeleton_links" not in packed:
        return
    features = 3 * len(links) + int(model.head.num_keypoints)
    if net.l1.in_features != features:
        raise BadInputError(
            "model.head.rescore_cfg.in_channels", str(net.l1.in_features),
            f"{features}: three a link of the data set's skeleton and one a keypoint",
            "Remove rescore_cfg: it is for the data set that it was trained on.",
        )  # fmt: skip
    arrays: dict[str, Any] = {
        f"{name}_{part}": getattr(getattr(net, name), part).detach().float().numpy()
        for name in ("l1", "l2", "l3")
        for part in ("weight", "bias")
    }
    arrays |= {"links": np.asarray(links, np.float32)}
    arrays |= {"torso": np.asarray(net.norm_indexes, np.float32)}
    np.savez(path, **arrays)
