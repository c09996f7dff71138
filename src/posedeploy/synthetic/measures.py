"""What `admission` measures of a network's outputs, and of a detector's people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from posedeploy.config import ModelConfig
from posedeploy.heads import HeadSpec

Maps = Mapping[str, torch.Tensor]  # output -> [N, channels, positions]
_NO_NMS = 0.999999  # an IoU that no pair has; mmpose's RTMO head cannot run with 1


def output_maps(model: Any, head: HeadSpec, batch: torch.Tensor) -> Maps:
    """The network's raw outputs, each as [N, channels, positions].

    Heatmaps [N, K, H·W]; SimCC [N, K, Wx] and [N, K, Wy]; for detectors each kind of prediction
    over the positions of all levels.
    """
    raw = model.head.forward(model.extract_feat(batch))
    if head.top_down and len(head.outputs) > 1:
        return dict(zip(head.output_names, raw, strict=True))
    if head.top_down:
        while not isinstance(raw, torch.Tensor):  # the last unit of the last stage is decoded
            raw = raw[-1]
        return {head.output_names[0]: raw.flatten(2)}
    return {
        str(index): torch.cat([level.flatten(2) for level in levels], dim=2)
        for index, levels in enumerate(raw)
        if levels
    }


def centered(y: torch.Tensor) -> torch.Tensor:
    """An output [N, channels, positions] less each channel's mean."""
    return y - y.mean(dim=(0, 2), keepdim=True)


def sqnr_db(y: torch.Tensor, noisy: torch.Tensor) -> float:
    """Signal to quantization-noise ratio in dB; the signal is what varies within a channel."""
    signal, noise = centered(y).square().sum(), (noisy.double() - y).square().sum()
    return float(10 * torch.log10(signal / noise))


def same_argmax(y: torch.Tensor) -> float:
    """Part of (pair of images, channel) with the maximum at the same place, 0..1."""
    places = y.argmax(dim=2)  # [N, channels]
    same = (places[:, None] == places[None]).double().mean(dim=2)  # [N, N]
    pairs = len(places) * (len(places) - 1)
    return float((same.sum() - same.trace()) / pairs)


def gap(y: torch.Tensor) -> float:
    """Median over images and channels of the largest value less the second largest."""
    best, second = y.topk(2, dim=2).values.unbind(dim=2)
    return float((best - second).median())


def detections(
    model: Any, model64: Any, batch: torch.Tensor, model_config: ModelConfig
) -> dict[str, Any]:
    """A detector's fields of `Admission`.

    Args:
        model: The detector in float32.
        model64: The same in float64.
        batch: Images [N, 3, H, W], normalized, float32.
        model_config: Its config.
    """
    features, features64 = model.extract_feat(batch), model64.extract_feat(batch.double())
    found = _predict(model, features, model_config)
    counts = [len(f.bboxes) for f in found]
    if min(counts) == 0:
        return {"detections": (0, max(counts)), "box_area": (0.0, 0.0)}
    candidates = _predict(model, features, model_config, nms_thr=_NO_NMS)
    truth = _predict(model64, features64, model_config)
    width, height = model_config.input_size
    boxes = torch.cat([torch.as_tensor(f.bboxes) for f in found])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / (width * height)
    clipped = (boxes[:, :2] <= 0).sum(1) + (boxes[:, 2:] >= torch.tensor([width, height])).sum(1)
    return {
        "detections": (min(counts), max(counts)),
        "suppressed": min(len(c.bboxes) - n for c, n in zip(candidates, counts, strict=True)),
        "box_area": (float(area.min()), float(area.max())),
        "at_border": float((clipped >= 3).float().mean()),
        "keypoint_noise_px": max(map(_keypoint_noise, found, truth)),
    }


def _predict(model: Any, features: Any, model_config: ModelConfig, **settings: float) -> list[Any]:
    from mmpose.structures import PoseDataSample

    sample = PoseDataSample(metainfo={"input_size": model_config.input_size})
    results: list[Any] = model.head.predict(
        features, [sample] * len(features[0]), test_cfg={**model.test_cfg, **settings}
    )
    return results


def _keypoint_noise(found: Any, truth: Any) -> float:
    """Largest keypoint distance in px, each detection against the one with the nearest box."""
    boxes, boxes64 = (torch.as_tensor(f.bboxes).double() for f in (found, truth))
    nearest = torch.cdist(boxes, boxes64).argmin(dim=1)
    keypoints = torch.as_tensor(found.keypoints).double()
    distance = keypoints - torch.as_tensor(truth.keypoints)[nearest]
    return float(distance.norm(dim=-1).max())
