"""Fitting the heads that put out SimCC vectors: two linear layers over one token a joint."""

from __future__ import annotations

import logging
from typing import Any

import torch

from posedeploy.synthetic.fitting.ridge import Ridge
from posedeploy.synthetic.fitting.targets import simcc_labels
from posedeploy.synthetic.fitting.workbench import Workbench

log = logging.getLogger(__name__)


# Standard deviation of the labels in input px. A linear layer over maps of width w on a coarse
# grid can only put out vectors about as wide: with 12 px instead of 22, SimCC on MobileNetV2
# falls from 0.98 to 0.91 (PCK at 0.05). Much wider, and float16 cannot tell the peak's top bins
# apart.
LABEL_WIDTH = 22.0
_DAMPING = 1e-3


def fit_vectors(bench: Workbench, layer_x: Any, layer_y: Any, split: float) -> None:
    """Solve for the layers that turn tokens [N, 17, D] into vectors of bins, in place.

    Args:
        bench: The model, all other layers done.
        layer_x: Linear layer that puts out [N, 17, Wx].
        layer_y: Linear layer that puts out [N, 17, Wy]; takes the same tokens.
        split: Bins a pixel.
    """
    for axis, layer in enumerate((layer_x, layer_y)):
        ridge = Ridge(layer.in_features, layer.out_features)
        for joints, seen in bench.inputs_of(layer):
            width = LABEL_WIDTH * split
            labels = simcc_labels(joints[:, 0], layer.out_features, axis, split, width)
            tokens = seen[layer].flatten(0, 1)
            ridge.add(tokens, labels.flatten(0, 1), torch.ones(len(tokens)))
        solution = ridge.solve(_DAMPING, free_bias=layer.bias is not None)
        layer.weight.copy_(solution.weight)
        if layer.bias is not None:
            layer.bias.copy_(solution.bias)
        log.info("vectors of axis %d: R² %.3f", axis, solution.explained.mean())
