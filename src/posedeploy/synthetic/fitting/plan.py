"""What a plan is: how a kind of network is prepared, and which of its layers are fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posedeploy.synthetic.fitting.targets import JointMaps
from posedeploy.synthetic.fitting.workbench import Stage


@dataclass(frozen=True)
class Plan:
    """How to fit the models of one head on one backbone.

    Attributes:
        images: How many figures of the fitting split it takes.
        prepare: Changes random weights, in place, before anything is fitted: what is not fitted
            is damped, so that it does not drown what is.
        stages: The layers to fit for a model, from the input to the output.
    """

    images: int
    prepare: Callable[[Any], None]
    stages: Callable[[Any], Sequence[Stage]]


def boost(block: str, maps: JointMaps, keep: float) -> Stage:
    """The second convolution of a basic block: it adds what its shortcut lacks."""
    return Stage(f"{block}.conv2", maps, norm=f"{block}.bn2", identity=block, keep=keep)


def heatmap(
    model: Any, layer: str = "head.final_layer", keep: float = 1.0, damping: float = 1e-5
) -> Stage:
    """The last stage of a heatmap model: a map of peak 1 a joint, two cells wide."""
    codec = model.head.decoder
    width = 2.0 * codec.input_size[0] / codec.heatmap_size[0]
    return Stage(layer, JointMaps(width, scale=1.0), keep=keep, damping=damping)
