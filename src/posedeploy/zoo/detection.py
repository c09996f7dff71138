"""Aiming a randomly initialised YOLOX-Pose or RTMO head at plausible people.

Boxes come out the size of a person, keypoints within them, and scores so that about
`CANDIDATES` positions a picture are above the model's own threshold: non-maximum suppression
then has overlapping boxes to choose from, and no picture is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .layers import recording, rescale

CANDIDATES = 100  # positions a picture above the score threshold, on average
BOX = (0.18, 0.4)  # mean width and height of a box, as parts of the input's
_SCORE_STD = 1.5  # of logits: scores spread over most of 0..1 without saturating
_LOG_SIZE_STD = 0.2  # of the logarithm of width and height: most boxes are within 40 % of BOX
_CENTRE_STD = 1.0  # of a box's centre, in strides
_DCC_LOGIT_STD = 3.0  # peaks in RTMO's coordinate bins that still depend smoothly on the picture
_DCC_SAMPLE = 7  # every seventh position is enough for a standard deviation
_SCORES = ("out_cls", "out_obj")


def aim_detector(model: Any, batch: torch.Tensor, input_size: tuple[int, int]) -> None:
    """Set the last layers of a detector, in place.

    Args:
        model: A pose estimator with a YOLOXPoseHead or RTMOHead, batch norms calibrated.
        batch: Calibration pictures [N, 3, H, W], normalised.
        input_size: (W, H) in px.
    """
    head = model.head
    features = model.extract_feat(batch)
    layers = [layer for name in _targets(head, 1, input_size) for layer in _layers(head, name)]
    seen: dict[nn.Module, torch.Tensor] = {}
    with recording(layers, seen):
        head.forward(features)
    for level, stride in enumerate(head.featmap_strides):
        for name, (mean, std) in _targets(head, stride, input_size).items():
            _set_channels(_layers(head, name)[level], seen, mean, std)
    _set_score_level(head, features, float(model.test_cfg.get("score_thr", 0.01)))
    if hasattr(head, "dcc"):
        _calibrate_dcc(head, features)


def _layers(head: Any, name: str) -> list[Any]:
    return list(getattr(head.head_module, name))


def _targets(
    head: Any, stride: int, input_size: tuple[int, int]
) -> Mapping[str, tuple[list[float], list[float]]]:
    """Output layer -> mean and standard deviation of its channels, tiled if there are more."""
    width, height = (part * size / stride for part, size in zip(BOX, input_size, strict=True))
    rows = {
        "out_bbox": (
            [0.0, 0.0, math.log(width), math.log(height)],
            [_CENTRE_STD, _CENTRE_STD, _LOG_SIZE_STD, _LOG_SIZE_STD],
        ),
        "out_cls": ([0.0], [_SCORE_STD]),
        "out_kpt": ([0.0, 0.0], [width / 4, height / 4]),  # x and y by turns, in strides
        "out_kpt_vis": ([0.0], [1.0]),
        "out_obj": ([0.0], [_SCORE_STD]),
        "out_pose": ([0.0], [1.0]),
    }
    return {name: row for name, row in rows.items() if len(getattr(head.head_module, name, ()))}


def _set_channels(
    layer: nn.Module, seen: Mapping[nn.Module, torch.Tensor], mean: list[float], std: list[float]
) -> None:
    output = seen[layer].movedim(1, 0).flatten(1)  # [C, N·H·W]
    repeats = output.shape[0] // len(mean)
    rescale(
        layer,
        output.mean(dim=1),
        torch.tensor(std).repeat(repeats) / output.std(dim=1),
        torch.tensor(mean).repeat(repeats),
    )


def _set_score_level(head: Any, features: Any, threshold: float) -> None:
    """Shift the logits so that `CANDIDATES` positions a picture are above the threshold."""
    names = [name for name in _SCORES if len(getattr(head.head_module, name, ()))]
    layers = [layer for name in names for layer in _layers(head, name)]
    seen: dict[nn.Module, torch.Tensor] = {}
    with recording(layers, seen):
        head.forward(features)
    logits = [
        torch.cat([seen[layer].flatten(1) for layer in _layers(head, name)], dim=1)
        for name in names
    ]
    wanted = CANDIDATES * logits[0].shape[0]
    low, high = -30.0, 30.0
    for _ in range(40):  # bisection: the count grows with the shift
        shift = (low + high) / 2
        scores = torch.stack([(logit + shift).sigmoid() for logit in logits]).prod(dim=0)
        low, high = (shift, high) if int((scores > threshold).sum()) < wanted else (low, shift)
    for layer in layers:
        layer.bias.add_(high)


def _calibrate_dcc(head: Any, features: Any) -> None:
    """RTMO's coordinate classifier, which no plain forward pass of the head runs."""
    from mmpose.structures.bbox import bbox_xyxy2cs

    _, boxes, _, _, vectors = head.forward(features)
    priors = head.prior_generator.grid_priors([box.shape[2:] for box in boxes], device="cpu")
    strides = torch.cat(
        [
            grid.new_full((len(grid),), s)
            for grid, s in zip(priors, head.featmap_strides, strict=True)
        ]
    )
    decoded = head.decode_bbox(_flat(boxes), torch.cat(priors), strides)
    grids = torch.cat(priors).expand(len(decoded), -1, -1).flatten(0, 1)[::_DCC_SAMPLE]
    centre_scale = torch.cat(
        bbox_xyxy2cs(decoded.flatten(0, 1)[::_DCC_SAMPLE], head.bbox_padding), dim=1
    )
    sample = _flat(vectors).flatten(0, 1)[::_DCC_SAMPLE]
    linear, norm = head.dcc.pose_to_kpts
    output: torch.Tensor = linear(sample)
    norm.running_mean.copy_(output.mean(dim=0))
    norm.running_var.copy_(output.var(dim=0))
    encodings = head.dcc._get_bin_enc(centre_scale, grids)
    logits = head.dcc._pose_feats_to_heatmaps(sample, *encodings)
    for layer, logit in zip((head.dcc.x_fc, head.dcc.y_fc), logits, strict=True):
        zero = torch.zeros(layer.out_features)
        gain = torch.full_like(zero, _DCC_LOGIT_STD / float((logit - logit.mean(-1, True)).std()))
        rescale(layer, zero, gain, zero)


def _flat(levels: list[torch.Tensor]) -> torch.Tensor:
    """Per-level maps [N, C, H, W] as one tensor [N, positions, C]."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
