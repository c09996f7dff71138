"""What a plan is: how a kind of network is prepared, and which of its layers are fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from posedeploy.config import ModelConfig

from .targets import JointMaps
from .workbench import Stage, Workbench


@dataclass(frozen=True)
class Plan:
    """How to fit the models of one head on one backbone.

    Attributes:
        pictures: How many figures of the fitting split it takes.
        prepare: Changes random weights, in place, before anything is fitted: what is not fitted
            is damped, so that it does not drown what is.
        stages: The layers to fit for a model, from the input to the output.
        finish: Fits what is no map: the vectors of a SimCC head. None for heatmaps.
        levels: Steps that activations are rounded to while fitting; 0 leaves them as they are.
    """

    pictures: int
    prepare: Callable[[Any], None]
    stages: Callable[[Any], Sequence[Stage]]
    finish: Callable[[Workbench, ModelConfig], None] | None = None
    levels: int = 0


def heatmap(model: Any, layer: str = "head.final_layer", **settings: Any) -> Stage:
    """The last stage of a heatmap model: a map of peak 1 a joint, two cells wide."""
    width = 2.0 * model.head.decoder.input_size[0] / model.head.decoder.heatmap_size[0]
    return Stage(layer, JointMaps((width,), scale=1.0), **({"damping": 1e-5} | settings))
