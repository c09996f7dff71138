"""Targets of the fitted layers: maps with a peak at every joint."""

from __future__ import annotations

from dataclasses import dataclass

import torch

JOINT_COUNT = 17


@dataclass(frozen=True)
class JointMaps:
    """Target channels of a layer: a Gaussian map a joint.

    Attributes:
        width: Standard deviation in input px.
        scale: Factor on everything. Fitted channels are made larger than random ones, or later
            layers drown them.
    """

    width: float
    scale: float = 10.0

    @property
    def channels(self) -> int:
        """How many channels 17 joints take."""
        return JOINT_COUNT

    def draw(
        self, joints: torch.Tensor, shape: tuple[int, int], size: tuple[int, int], offset: float
    ) -> torch.Tensor:
        """The maps [N, 17, h, w]; where people overlap, the larger value.

        Args:
            joints: [N, P, 17, 2] in input px.
            shape: (h, w) of the maps in cells.
            size: (W, H) of the input in px.
            offset: The center of cell 0 is at `offset` strides.
        """
        xs = (torch.arange(shape[1]) + offset) * (size[0] / shape[1])
        ys = (torch.arange(shape[0]) + offset) * (size[1] / shape[0])
        dx = ((xs - joints[..., :1]) / self.width)[..., None, :]  # [N, P, 17, 1, w]
        dy = ((ys - joints[..., 1:]) / self.width)[..., None]  # [N, P, 17, h, 1]
        maps = torch.exp(-(dx.square() + dy.square()) / 2)
        return maps.amax(dim=1) * self.scale
