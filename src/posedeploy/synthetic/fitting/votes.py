"""Maps on which every joint votes for the middle of its person.

A detector puts a person's joints out at one cell, but they lie many cells away.  So a joint's
map is moved, layer by layer, against the joint's mean place in a person: behind the last of
these layers all joints of a person have their peaks about its middle, and what is left, the
joint's own distance from its mean place, is what the moments of the maps say.  (The idea of
votes for a center: Leibe, Leonardis and Schiele, "Combined Object Categorization and
Segmentation With an Implicit Shape Model", 2004.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from posedeploy.synthetic.fitting.targets import JOINT_COUNT, JointMaps

_TORSO = (5, 6, 11, 12)  # shoulders and hips: no joint is nearer to all others, in any pose


def middles(joints: torch.Tensor) -> torch.Tensor:
    """[..., 17, 2] → [..., 2]: the middle of the torso, where a person is detected."""
    return joints[..., _TORSO, :].mean(dim=-2)


def mean_places(joints: torch.Tensor) -> torch.Tensor:
    """[N, P, 17, 2] → [17, 2]: where joints lie on average, seen from their person's middle."""
    return (joints - middles(joints)[..., None, :]).mean(dim=(0, 1))


@dataclass(frozen=True)
class VoteMaps:
    """Target channels of a layer, as `JointMaps` are, of joints that were moved.

    Attributes:
        places: [17, 2] in input px, from `mean_places`.
        way: Part of the way to the person's middle, 0..1.
        widths: Standard deviations in input px. Of the first width there are a Gaussian map and
            two moments a joint; of the others moments alone, for a narrow layer has no room.
        scale: Factor on everything, as in `JointMaps`.
        floor: 0; see `JointMaps`.
    """

    places: torch.Tensor
    way: float
    widths: tuple[float, ...]
    scale: float = 10.0
    floor: float = 0.0

    @property
    def channels(self) -> int:
        """How many channels 17 joints take."""
        return JOINT_COUNT * (1 + 2 * len(self.widths))

    def draw(
        self, joints: torch.Tensor, shape: tuple[int, int], size: tuple[int, int], offset: float
    ) -> torch.Tensor:
        """The maps [N, channels, h, w]; see `JointMaps.draw`."""
        maps = JointMaps(self.widths, moments=True, scale=self.scale, lift=1.0)
        drawn = maps.draw(joints - self.way * self.places, shape, size, offset)
        others = range(1, len(self.widths))
        gaussians = torch.zeros(drawn.shape[1], dtype=torch.bool)
        for index in others:
            start = 3 * JOINT_COUNT * index
            gaussians[start : start + JOINT_COUNT] = True
        return drawn[:, ~gaussians]
