"""Weights calibrated on images: batch-norm statistics, and outputs that depend on the image.

A freshly initialized network has the same peak for every image, or outputs of 1e4. Here the batch
norms get the statistics of activations, and the last layers are scaled and shifted so that every
output channel has mean 0 and standard deviation 1 over the calibration images, or what `TARGETS`
has for heads that output coordinates.

A detector's last layers get plausible outputs: boxes of the size of a person with the keypoints in
them, and about `CANDIDATES` positions per image with scores above the model's threshold, so that
no image is empty and non-maximum suppression has overlapping boxes to remove.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.synthetic.conditioning import CONDITIONING, OTHER, initialize
from posedeploy.synthetic.images import calibration_images, network_input

# Head type -> the layers whose outputs are heatmaps, SimCC vectors or coordinates.
# fmt: off
FINAL_LAYERS: Mapping[str, Callable[[Any], list[nn.Module]]] = {
    "AssociativeEmbeddingHead": lambda head: [head.final_layer],
    "CIDHead":     lambda head: [head.iia_module.keypoint_root_conv, head.gfd_module.conv_down,
                                 head.gfd_module.channel_attention.atn,
                                 head.gfd_module.spatial_attention.atn],
    "CPMHead":     lambda head: list(head.multi_final_layers),
    "DEKRHead":    lambda head: [head.heatmap_conv_layers[-1],
                                 head.displacement_conv_layers[-1]],
    "DSNTHead":    lambda head: [(head.simplebaseline_head or head).final_layer],
    "HeatmapHead": lambda head: [head.final_layer],
    "IntegralRegressionHead": lambda head: [(head.simplebaseline_head or head).final_layer],
    "MSPNHead":    lambda head: [unit.conv_layers[-1].bn for unit in head.predict_layers],
    "RLEHead":     lambda head: [head.fc],
    "RTMCCHead":   lambda head: [head.cls_x, head.cls_y],
    "RTMWHead":    lambda head: [head.cls_x, head.cls_y],
    "RegressionHead": lambda head: [head.fc],
    "SimCCHead":   lambda head: [head.mlp_head_x, head.mlp_head_y],
    "ViPNASHead":  lambda head: [head.final_layer],
    "VisPredictHead": lambda head: [
        *FINAL_LAYERS[head.pose_cfg["type"]](head.pose_head), head.vis_head[2]
    ],
}
# Backbone type -> the last of the layers whose outputs are heatmaps, for heads without layers.
BACKBONE_LAYERS: Mapping[str, Callable[[Any], list[nn.Module]]] = {
    "CPM":         lambda backbone: [[backbone.stem, *backbone.out_convs][-1][-1].conv],
}
# Head type -> mean and standard deviation of the channels, which are repeated: keypoints lie
# around the middle of the input, and a softmax over a heatmap has its mass near a few maxima.
TARGETS: Mapping[str, tuple[list[float], list[float]]] = {
    "DSNTHead":               ([0.0], [3.0]),
    "IntegralRegressionHead": ([0.0], [3.0]),
    "RLEHead":                ([0.5, 0.5, -2.0, -2.0], [0.15, 0.15, 1.0, 1.0]),
    "RegressionHead":         ([0.5, 0.5], [0.15, 0.15]),
}
# fmt: on
_NORM_INPUT = 33.0  # largest |x| before RTMPose-t's ScaleNorm after training on drawn figures
_BATCHES, _BATCH = 2, 4  # number and size; more images change little
_BOTTOM_UP_BATCH = 2  # scenes of 416 px and more have many positions each
_PEOPLE = 3
_PEOPLE_FOUND = 6  # in an image by a model that groups keypoints, about
_CID_THRESHOLD = 0.01  # mmpose's default of `score_threshold`
_KEYPOINT_SPREAD = 4.0  # cells around a person's center
_OWN_HEAT, _OWN_TAG = 0.02, 0.01  # of a keypoint, beside what all keypoints have in common
_TAG_SPREAD = 10.0  # tags are of one person if they differ by less than 1

CANDIDATES = 100  # positions per image above the score threshold, on average
BOX = (0.18, 0.4)  # mean width and height of a box, as parts of the input's
_SCORE_STD = 1.5  # of logits: scores spread over most of 0..1 without saturating
_LOG_SIZE_STD = 0.2  # of the logarithm of width and height: most boxes are within 40 % of BOX
_CENTER_STD = 0.3  # of a box's center, in strides; no box leaves the image
_DCC_LOGIT_STD = 3.0  # peaks in RTMO's coordinate bins that still depend smoothly on the image
_DCC_STEP = 7  # standard deviations are computed from every seventh position
_SCORES = ("out_cls", "out_obj")


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
        if model_config.head_kind.bottom_up and not model_config.head_kind.groups:
            aim_detector(model, torch.cat(batches), model_config.input_size)
            return
        _standardize_outputs(model, model_config.head, torch.cat(batches))
        if model_config.head_kind.groups:
            PEOPLE[model_config.head](model, torch.cat(batches))


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
        _run(model.head, model.extract_feat(batch))
    for norm, value in zip(norms, momentum, strict=True):
        norm.momentum = value
    model.eval()


def _standardize_outputs(model: Any, head_type: str, batch: torch.Tensor) -> None:
    head, layers = model.head, FINAL_LAYERS[head_type](model.head)
    without = all(isinstance(layer, nn.Identity) for layer in layers)  # `final_layer=None`
    with recording(_backbone_layers(model.backbone) if without else []) as in_backbone:
        features = model.extract_feat(batch)
    if hasattr(head, "gau"):
        if isinstance(head.final_layer, nn.Conv2d):  # RTMW's has an activation behind it
            enlarge_norm_input(head, features)
        standardize_attention(head.gau, lambda: head.forward(features))
    target, std = (torch.tensor(row) for row in TARGETS.get(head_type, ([0.0], [1.0])))
    for layer, output in (in_backbone or _outputs(head, features, layers)).items():
        channel = output.ndim - 1 if isinstance(layer, nn.Linear) else 1
        channels = output.movedim(channel, 0).flatten(1)  # [C, N * positions]
        mean = channels.mean(dim=1)
        spread = (channels - mean[:, None]).std()
        repeats = len(mean) // len(std)
        spread = spread * getattr(head, "beta", 1.0)  # by which integral heads multiply heatmaps
        rescale(layer, mean, std.repeat(repeats) / spread, target.repeat(repeats))


def _backbone_layers(backbone: Any) -> list[nn.Module]:
    name = type(backbone).__name__
    if name not in BACKBONE_LAYERS:
        raise BadInputError(
            "calibrated weights", f"a head without layers (final_layer=None) on {name}",
            f"one with a final layer, or a backbone of: {', '.join(BACKBONE_LAYERS)}",
            "Give a checkpoint of your own.",
        )  # fmt: skip
    return BACKBONE_LAYERS[name](backbone)


def _outputs(head: Any, features: Any, layers: list[nn.Module]) -> dict[nn.Module, torch.Tensor]:
    with recording(layers) as seen:
        _run(head, features)
    return seen


def enlarge_norm_input(head: Any, features: Any) -> None:
    """Give the ScaleNorm behind RTMPose's last convolution inputs as large as trained ones.

    It divides by the norm of its input, so the network computes what it did before.
    """
    seen = _outputs(head, features, [head.final_layer])[head.final_layer]
    gain = torch.full((len(head.final_layer.weight),), _NORM_INPUT / float(seen.abs().max()))
    zero = torch.zeros_like(gain)
    rescale(head.final_layer, zero, gain, zero)


def standardize_attention(gau: Any, run: Callable[[], object]) -> None:
    """Scale a gated attention unit in place so that it does not dominate its shortcut.

    `run` runs it. Its attention grows with the fourth power of `gamma` and `beta`, which make
    queries and keys of one projection; with the last layer alone, that layer's weights would be
    too small for float16.
    """
    for power in (0.25, None):
        with recording([gau.o]) as seen:
            run()
        if power is None:
            scale_output(gau.o, seen[gau.o], 1.0)
        else:
            gain = float(seen[gau.o].std()) ** -power
            gau.gamma.mul_(gain)
            gau.beta.mul_(gain)


def _run(head: Any, features: Any) -> None:
    """Run a head; CID's, whose people are those of one image, on the first image alone."""
    alone = hasattr(head, "iia_module")
    head.forward([level[:1] for level in features] if alone else features)


def _people_of_cid(model: Any, batch: torch.Tensor) -> None:
    """About `_PEOPLE_FOUND` centers an image, and heatmaps that are neither 0 nor 1 everywhere."""
    head, features = model.head, model.extract_feat(batch)
    root: Any = head.iia_module.keypoint_root_conv
    threshold = math.log(_CID_THRESHOLD / (1 - _CID_THRESHOLD))  # of a sigmoid
    logits = root(features[-1])[:, -1:]
    root.bias[-1:] += _shift_to_peaks(logits, 3, logits.shape[2:], threshold)
    layer = head.gfd_module.heatmap_conv
    scale_output(layer, _outputs(head, features, [layer])[layer], _SCORE_STD)


def _people_of_dekr(model: Any, batch: torch.Tensor) -> None:
    """About `_PEOPLE_FOUND` centers an image, keypoints spread around them, scores above 0."""
    head = model.head
    layers: list[Any] = [*FINAL_LAYERS["DEKRHead"](head)]
    heat, moves = layers
    _scale(moves, _KEYPOINT_SPREAD)
    heat.bias[:-1] += 2.0  # standard deviations
    heatmaps = head.forward(model.extract_feat(batch))[0][:, -1:]
    codec = head.decoder
    size = heatmaps.shape[2:]
    heat.bias[-1:] += _shift_to_peaks(heatmaps, codec.decode_nms_kernel, size, codec.decode_thr)


def _people_of_associative_embedding(model: Any, batch: torch.Tensor) -> None:
    """About `_PEOPLE_FOUND` peaks a keypoint and image, whose tags tell people apart.

    All heatmaps are like the first one, and all tags too, so that there are places at which every
    keypoint has a peak, and a tag that is near the others' there.
    """
    head, layer = model.head, model.head.final_layer
    keypoints = head.num_keypoints
    for values in (layer.weight, layer.bias):
        heat, tags = values[:keypoints].clone(), values[keypoints:].clone()
        values[:keypoints] = _OWN_HEAT * heat + math.sqrt(1 - _OWN_HEAT**2) * heat[:1]
        values[keypoints:] = _TAG_SPREAD * (tags[:1] + _OWN_TAG * tags)
    heatmaps = head.forward(model.extract_feat(batch))[0]
    codec = head.decoder
    layer.bias[:keypoints] += _shift_to_peaks(
        heatmaps, codec.decode_nms_kernel, tuple(codec.heatmap_size)[::-1],
        codec.decode_keypoint_thr,
    )  # fmt: skip


def _scale(layer: Any, gain: float) -> None:
    zeros = torch.zeros(len(layer.weight))
    rescale(layer, zeros, torch.full_like(zeros, gain), zeros)


def _shift_to_peaks(
    heatmaps: torch.Tensor, kernel: int, size: Sequence[int], threshold: float
) -> torch.Tensor:
    """What is to be added to each map [N, C, h, w] for `_PEOPLE_FOUND` peaks above a threshold.

    Peaks are those of maps of the (H, W) that they are decoded as, over squares of `kernel` cells.
    """
    heatmaps = nn.functional.interpolate(heatmaps, tuple(size), mode="bilinear")
    highest = nn.functional.max_pool2d(heatmaps, kernel, 1, kernel // 2)
    peaks = heatmaps.where(heatmaps == highest, torch.tensor(-math.inf))
    best = peaks.movedim(1, 0).flatten(1).topk(_PEOPLE_FOUND * len(heatmaps), dim=1).values
    return threshold - best[:, -2:].mean(dim=1)


# Head type -> what makes its maps, of mean 0 and standard deviation 1, hold people.
PEOPLE: Mapping[str, Callable[[Any, torch.Tensor], None]] = {
    "AssociativeEmbeddingHead": _people_of_associative_embedding,
    "CIDHead": _people_of_cid,
    "DEKRHead": _people_of_dekr,
}


def aim_detector(model: Any, batch: torch.Tensor, input_size: tuple[int, int]) -> None:
    """Set the last layers of a YOLOX-Pose or RTMO model with calibrated batch norms, in place.

    `batch` are calibration images [N, 3, H, W], normalized, of (W, H) px.
    """
    head = model.head
    features = model.extract_feat(batch)
    layers = [layer for name in _targets(head, 1, input_size) for layer in _layers(head, name)]
    with recording(layers) as seen:
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
            [_CENTER_STD, _CENTER_STD, _LOG_SIZE_STD, _LOG_SIZE_STD],
        ),
        "out_cls": ([0.0], [_SCORE_STD]),
        "out_kpt": ([0.0, 0.0], [width / 4, height / 4]),  # x and y alternate, in strides
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
    """Shift the logits so that `CANDIDATES` positions per image are above the threshold."""
    names = [name for name in _SCORES if len(getattr(head.head_module, name, ()))]
    layers = [layer for name in names for layer in _layers(head, name)]
    with recording(layers) as seen:
        head.forward(features)
    logits = [  # of the best class, which is the one that counts
        torch.cat([seen[layer].amax(dim=1).flatten(1) for layer in _layers(head, name)], dim=1)
        for name in names
    ]
    target = CANDIDATES * logits[0].shape[0]
    low, high = -30.0, 30.0
    for _ in range(40):  # bisection: the count grows with the shift
        shift = (low + high) / 2
        scores = torch.stack([(logit + shift).sigmoid() for logit in logits]).prod(dim=0)
        low, high = (shift, high) if int((scores > threshold).sum()) < target else (low, shift)
    for layer in layers:
        layer.bias.add_(high)


def _calibrate_dcc(head: Any, features: Any) -> None:
    """Calibrate RTMO's coordinate classifier, which `head.forward` does not run."""
    dcc = head.dcc
    vectors, center_scale, grids = _dcc_sample(head, features)
    linear, norm = dcc.pose_to_kpts
    tokens: torch.Tensor = linear(vectors)
    norm.running_mean.copy_(tokens.mean(dim=0))
    norm.running_var.copy_(tokens.var(dim=0))
    if hasattr(dcc, "gau"):
        standardize_attention(dcc.gau, lambda: dcc.forward_test(vectors, center_scale, grids))
    # Weights proportional to the wavelengths (px) of the positional encoding give all of them the
    # same slope; otherwise an error of 1e-3 px in a box moves keypoints by 0.1 px.
    wavelengths = dcc.spe.dim_t / dcc.spe.dim_t.max()
    for layer in (dcc.x_fc, dcc.y_fc):
        layer.weight.mul_(wavelengths.repeat(2))  # cosines, then sines
    encodings = dcc._get_bin_enc(center_scale, grids)
    logits = dcc._pose_feats_to_heatmaps(vectors, *encodings)
    for layer, logit in zip((dcc.x_fc, dcc.y_fc), logits, strict=True):
        scale_output(layer, logit - logit.mean(dim=-1, keepdim=True), _DCC_LOGIT_STD)


def _dcc_sample(head: Any, features: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pose vectors [S, C], boxes as center and scale [S, 4], positions [S, 2], in input px."""
    from mmpose.structures.bbox import bbox_xyxy2cs

    _, boxes, _, _, vectors = head.forward(features)
    grids = head.prior_generator.grid_priors([box.shape[2:] for box in boxes], device="cpu")
    levels = zip(grids, head.featmap_strides, strict=True)
    strides = torch.cat([grid.new_full(grid.shape[:1], stride) for grid, stride in levels])
    priors = torch.cat(grids)
    decoded = head.decode_bbox(_flat(boxes), priors, strides)
    center, scale = bbox_xyxy2cs(decoded.flatten(0, 1)[::_DCC_STEP], head.bbox_padding)
    positions = priors.repeat(len(decoded), 1)[::_DCC_STEP]
    sample = _flat(vectors).flatten(0, 1)[::_DCC_STEP]
    return sample, torch.cat([center, scale], dim=1), positions


def _flat(levels: list[torch.Tensor]) -> torch.Tensor:
    """Per-level maps [N, C, H, W] as one tensor [N, positions, C]."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)


@contextlib.contextmanager
def recording(layers: Iterable[nn.Module]) -> Iterator[dict[nn.Module, torch.Tensor]]:
    """Record each layer's output while the context is open; of several runs, the last one's."""
    seen: dict[nn.Module, torch.Tensor] = {}
    hooks = [
        layer.register_forward_hook(lambda module, _, output: seen.update({module: output}))
        for layer in layers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def rescale(layer: Any, mean: torch.Tensor, gain: torch.Tensor, target: torch.Tensor) -> None:
    """Change a layer in place so that its output `y` becomes `(y - mean) * gain + target`.

    Each is [C]; without a bias the layer ignores `mean` and `target`.
    """
    layer.weight.mul_(gain.reshape(-1, *[1] * (layer.weight.ndim - 1)))
    if layer.bias is not None:
        layer.bias.copy_((layer.bias - mean) * gain + target)


def scale_output(layer: Any, output: torch.Tensor, std: float) -> None:
    """Scale a layer in place so that its `output` would have had this standard deviation."""
    zero = layer.weight.new_zeros(layer.weight.shape[0])
    rescale(layer, zero, torch.full_like(zero, std / float(output.std())), zero)
