"""Weights calibrated on images: batch-norm statistics, and outputs that depend on the image.

A freshly initialized network has the same peak for every image, or outputs of 1e4. Here the batch
norms get the statistics of activations, and the last layers are scaled and shifted so that every
output channel has mean 0 and standard deviation 1 over the calibration images. The last layers of
detectors are set by `detection`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from posedeploy.config import ModelConfig
from posedeploy.synthetic.conditioning import CONDITIONING, OTHER, initialize
from posedeploy.synthetic.detection import aim_detector
from posedeploy.synthetic.images import calibration_images, network_input
from posedeploy.synthetic.layers import recording, rescale, scale_output

# Head type -> the layers whose outputs are heatmaps or SimCC vectors.
# fmt: off
FINAL_LAYERS: Mapping[str, Callable[[Any], list[nn.Module]]] = {
    "CPMHead":     lambda head: list(head.multi_final_layers),
    "HeatmapHead": lambda head: [head.final_layer],
    "MSPNHead":    lambda head: [unit.conv_layers[-1].bn for unit in head.predict_layers],
    "RTMCCHead":   lambda head: [head.cls_x, head.cls_y],
    "SimCCHead":   lambda head: [head.mlp_head_x, head.mlp_head_y],
}
# fmt: on
_BATCHES, _BATCH = 2, 4  # number and size; more images change little
_BOTTOM_UP_BATCH = 2  # scenes of 416 px and more have many positions each
_PEOPLE = 3


def calibrate(model: nn.Module, model_config: ModelConfig, seed: int) -> None:
    """Set well-conditioned weights, with which outputs depend on the image, in place.

    The seed decides weights and calibration images.
    """
    backbone = str(model_config.config["model"]["backbone"]["type"]).rsplit(".", 1)[-1]
    with single_thread(), torch.no_grad():
        initialize(model, CONDITIONING.get(backbone, OTHER), seed, min(model_config.std))
        count = _BOTTOM_UP_BATCH if model_config.head_kind.bottom_up else _BATCH
        batches = [image_batch(model_config, count, seed + index) for index in range(_BATCHES)]
        _calibrate_batch_norms(model, batches)
        if model_config.head_kind.bottom_up:
            aim_detector(model, torch.cat(batches), model_config.input_size)
        else:
            _standardize_outputs(model, model_config.head, torch.cat(batches))


@contextlib.contextmanager
def single_thread() -> Iterator[None]:
    """One torch thread, with which sums are taken in the same order on every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def image_batch(model_config: ModelConfig, count: int, seed: int) -> torch.Tensor:
    """Normalized images [count, 3, H, W]; scenes of three people for a bottom-up model."""
    people = _PEOPLE if model_config.head_kind.bottom_up else 1
    images = calibration_images(count, model_config.input_size, seed, people)
    mean, std = model_config.mean, model_config.std
    return torch.from_numpy(network_input(images, mean, std, model_config.bgr_to_rgb))


def _calibrate_batch_norms(model: Any, batches: list[torch.Tensor]) -> None:
    """Set running statistics to the mean over the batches, with dropout and drop-path off."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momentum = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in batches:
        model.head.forward(model.extract_feat(batch))
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    model.eval()


def _standardize_outputs(model: Any, head_type: str, batch: torch.Tensor) -> None:
    head, features = model.head, model.extract_feat(batch)
    if hasattr(head, "gau"):  # its squared activations would dominate the shortcut
        seen = _outputs(head, features, [head.gau.o])
        scale_output(head.gau.o, seen[head.gau.o], 1.0)
    layers = FINAL_LAYERS[head_type](head)
    for layer, output in _outputs(head, features, layers).items():
        channel = output.ndim - 1 if isinstance(layer, nn.Linear) else 1
        channels = output.movedim(channel, 0).flatten(1)  # [C, N * positions]
        mean = channels.mean(dim=1)
        spread = (channels - mean[:, None]).std()
        rescale(layer, mean, torch.ones_like(mean) / spread, torch.zeros_like(mean))


def _outputs(head: Any, features: Any, layers: list[nn.Module]) -> dict[nn.Module, torch.Tensor]:
    with recording(layers) as seen:
        head.forward(features)
    return seen
