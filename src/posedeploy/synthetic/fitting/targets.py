"""What fitted layers are to put out: maps and vectors with a peak at every joint."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

JOINT_COUNT = 17
# A derivative of a Gaussian, t * exp(-t * t / 2), is largest at t = 1: scaled to peak at 1.
_MOMENT_SCALE = math.exp(0.5)


@dataclass(frozen=True)
class JointMaps:
    """Target channels of a layer: for each width a Gaussian map a joint, perhaps with moments.

    Attributes:
        widths: Standard deviations in input px.
        moments: True to add two more maps a joint and width: the Gaussian times the distance in
            x and in y. They tell a later, coarser layer where inside a cell the joint is.
        scale: Factor on everything. Fitted channels are made larger than random ones, or later
            layers drown them.
        floor: Added to everything, in units of `scale`. Below 0, a rectifier behind the layer
            cuts off what little is left where there is no joint.
        lift: Added to the moments alone, in units of `scale`: a rectifier then keeps them whole.
    """

    widths: tuple[float, ...]
    moments: bool = False
    scale: float = 10.0
    floor: float = 0.0
    lift: float = 0.0

    @property
    def channels(self) -> int:
        """How many channels 17 joints take."""
        return JOINT_COUNT * len(self.widths) * (3 if self.moments else 1)

    def draw(
        self, joints: torch.Tensor, shape: tuple[int, int], size: tuple[int, int], offset: float
    ) -> torch.Tensor:
        """The maps [N, channels, h, w].

        Args:
            joints: [N, P, 17, 2] in input px.
            shape: (h, w) of the maps in cells.
            size: (W, H) of the input in px.
            offset: The center of cell 0 is at `offset` strides.
        """
        maps = []
        for width in self.widths:
            gauss, dx, dy = _gaussians(joints, shape, size, offset, width)
            maps.append(gauss.amax(dim=1))
            if self.moments:
                maps += [(gauss * d * _MOMENT_SCALE).sum(dim=1) + self.lift for d in (dx, dy)]
        return (torch.cat(maps, dim=1) + self.floor) * self.scale


def _gaussians(
    joints: torch.Tensor,
    shape: tuple[int, int],
    size: tuple[int, int],
    offset: float,
    width: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """[N, P, 17, h, w] with peak 1, and the distances in x and y in units of `width`."""
    xs = (torch.arange(shape[1]) + offset) * (size[0] / shape[1])
    ys = (torch.arange(shape[0]) + offset) * (size[1] / shape[0])
    dx = ((xs - joints[..., :1]) / width)[..., None, :]  # [N, P, 17, 1, w]
    dy = ((ys - joints[..., 1:]) / width)[..., None]  # [N, P, 17, h, 1]
    return torch.exp(-(dx.square() + dy.square()) / 2), dx, dy


def simcc_labels(
    joints: torch.Tensor, bins: int, axis: int, split: float, width: float
) -> torch.Tensor:
    """Gaussian labels [N, 17, bins] of one axis, with peak 1.

    Args:
        joints: [N, 17, 2] in input px.
        bins: Length of the vectors.
        axis: 0 for x, 1 for y.
        split: Bins a pixel (the codec's `simcc_split_ratio`).
        width: Standard deviation in bins.
    """
    center = joints[..., axis : axis + 1] * split
    return torch.exp(-((torch.arange(bins) - center) / width).square() / 2)
