"""Admission of weights: measures and limits that decide whether they can judge a backend.

With a network whose output ignores the image every broken backend passes, and with one that
amplifies rounding every correct backend fails; made weights outside the ranges of trained ones
judge half precision and int8 wrongly (`layers`). `python -m posedeploy.synthetic.admission
[MODEL|TIER ...]` measures models of the zoo, with every kind of weights that they have, and exits
with 1 if one is not admitted.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.heads import HeadSpec
from posedeploy.paths import cache_dir
from posedeploy.synthetic.calibration import image_batch, single_thread
from posedeploy.synthetic.layers import layer_facts, layer_failures
from posedeploy.synthetic.weights import checkpoint_for, locating_kinds
from posedeploy.zoo.build import build_model
from posedeploy.zoo.table import ALL, config_path, models_of

IMAGES = 6
_SEED = 9000  # far from the seeds of calibration
_NO_NMS = 0.999999  # an IoU that no pair has; mmpose's RTMO head cannot run with 1

Maps = Mapping[str, torch.Tensor]  # output -> [N, channels, positions]


@dataclass(frozen=True)
class Admission:
    """Measures on images that calibration has not seen."""

    bf16_sqnr_db: float  # of a bf16 autocast run, the worst output's; see `_sqnr_db`
    # Part of (pair of images, channel) with the maximum at the same position; 0 and infinite gaps
    # for heads that output coordinates, which no maximum decides.
    same_argmax: float
    # Median difference of the largest and the second largest value of a channel, in standard
    # deviations of the output: the smallest of the outputs, and divided by `noise`.
    gap: float
    gap_over_noise: float
    noise: float  # largest difference of float32 from float64, in standard deviations
    detections: tuple[int, int] | None = None  # fewest and most on an image; None if top-down
    suppressed: int = 0  # smallest number of candidates on an image that NMS removes
    box_area: tuple[float, float] | None = None  # smallest and largest, as parts of the input's
    at_border: float = 0.0  # part of the boxes that 3 or 4 borders of the image clip
    keypoint_noise_px: float = 0.0  # largest distance of float32 from float64, in input px
    layers: tuple[str, ...] = ()  # limits of `layers` that are violated


def measure(model: Any, model_config: ModelConfig, count: int = IMAGES) -> Admission:
    """Measure a model on images, 2 at least. Runs it five times on each, on one thread."""
    batch = image_batch(model_config, count, _SEED)
    model64 = copy.deepcopy(model).double()
    peaks = model_config.head_kind.outputs[0].has_peaks or model_config.head_kind.bottom_up
    with single_thread(), torch.no_grad():
        layers = layer_failures(layer_facts(model, batch))
        maps = output_maps(model, model_config.head_kind, batch)
        maps64 = output_maps(model64, model_config.head_kind, batch.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            maps16 = output_maps(model, model_config.head_kind, batch)
        detector: dict[str, Any] = {}
        if model_config.head_kind.bottom_up and not model_config.head_kind.groups:
            detector = _detections(model, model64, batch, model_config)
    gaps = {name: _gap(y) if peaks else math.inf for name, y in maps64.items()}
    noise = {name: float((maps[name] - y).abs().max()) for name, y in maps64.items()}
    spread = {name: float(_centered(y).std()) for name, y in maps64.items()}
    return Admission(
        bf16_sqnr_db=min(_sqnr_db(y, maps16[name]) for name, y in maps64.items()),
        same_argmax=max(_same_argmax(y) for y in maps64.values()) if peaks else 0.0,
        gap=min(gaps[name] / spread[name] for name in maps64),
        gap_over_noise=min(gaps[name] / noise[name] for name in maps64),
        noise=max(noise[name] / spread[name] for name in maps64),
        layers=layers,
        **detector,
    )


def output_maps(model: Any, head: HeadSpec, batch: torch.Tensor) -> Maps:
    """The network's raw outputs, each as [N, channels, positions].

    Heatmaps [N, K, H·W]; SimCC [N, K, Wx] and [N, K, Wy]; coordinates [N, K·D, 1]; for detectors
    each kind of prediction over the positions of all levels.
    """
    raw = model.head.forward(model.extract_feat(batch))
    if head.top_down and not head.outputs[0].has_peaks:
        points = raw[0] if isinstance(raw, tuple) else raw  # the other one is heatmaps
        return {head.output_names[0]: points.flatten(1).unsqueeze(2)}
    if head.top_down and len(head.outputs) > 1:
        return dict(zip(head.output_names, raw, strict=True))
    if head.groups:
        maps = raw if isinstance(raw, tuple) else (raw,)
        return {str(i): part.flatten(2) for i, part in enumerate(maps)}
    if head.top_down:
        while not isinstance(raw, torch.Tensor):  # mmpose decodes the last unit of the last stage
            raw = raw[-1]
        return {head.output_names[0]: raw.flatten(2)}
    return {
        str(index): torch.cat([level.flatten(2) for level in levels], dim=2)
        for index, levels in enumerate(raw)
        if levels
    }


def _centered(y: torch.Tensor) -> torch.Tensor:
    """An output less each channel's mean."""
    return y - y.mean(dim=(0, 2), keepdim=True)


def _sqnr_db(y: torch.Tensor, noisy: torch.Tensor) -> float:
    """Signal to quantization-noise ratio in dB; a channel's constant offset is no signal."""
    signal, noise = _centered(y).square().sum(), (noisy.double() - y).square().sum()
    return float(10 * torch.log10(signal / noise))


def _same_argmax(y: torch.Tensor) -> float:
    peaks = y.argmax(dim=2)  # [N, channels]
    same = (peaks[:, None] == peaks[None]).double().mean(dim=2)  # [N, N]
    pairs = len(peaks) * (len(peaks) - 1)
    return float((same.sum() - same.trace()) / pairs)


def _gap(y: torch.Tensor) -> float:
    """Median over images and channels of the largest value less the second largest."""
    best, second = y.topk(2, dim=2).values.unbind(dim=2)
    return float((best - second).median())


def _detections(
    model: Any, model64: Any, batch: torch.Tensor, model_config: ModelConfig
) -> dict[str, Any]:
    """The fields of `Admission` for a detector, from a normalized batch [N, 3, H, W]."""
    features, features64 = model.extract_feat(batch), model64.extract_feat(batch.double())
    predicted = _predict(model, features, model_config)
    counts = [len(p.bboxes) for p in predicted]
    if min(counts) == 0:
        return {"detections": (0, max(counts)), "box_area": (0.0, 0.0)}
    candidates = _predict(model, features, model_config, nms_thr=_NO_NMS)
    truth = _predict(model64, features64, model_config)
    width, height = model_config.input_size
    boxes = torch.cat([torch.as_tensor(p.bboxes) for p in predicted])
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / (width * height)
    clipped = (boxes[:, :2] <= 0).sum(1) + (boxes[:, 2:] >= torch.tensor([width, height])).sum(1)
    return {
        "detections": (min(counts), max(counts)),
        "suppressed": min(len(c.bboxes) - n for c, n in zip(candidates, counts, strict=True)),
        "box_area": (float(area.min()), float(area.max())),
        "at_border": float((clipped >= 3).float().mean()),
        "keypoint_noise_px": max(map(_keypoint_noise, predicted, truth)),
    }


def _predict(model: Any, features: Any, model_config: ModelConfig, **settings: float) -> list[Any]:
    from mmpose.structures import PoseDataSample

    sample = PoseDataSample(metainfo={"input_size": model_config.input_size})
    results: list[Any] = model.head.predict(
        features, [sample] * len(features[0]), test_cfg={**model.test_cfg, **settings}
    )
    return results


def _keypoint_noise(predicted: Any, truth: Any) -> float:
    """Largest keypoint distance in px, each detection against the one with the nearest box."""
    boxes, boxes64 = (torch.as_tensor(p.bboxes).double() for p in (predicted, truth))
    nearest = torch.cdist(boxes, boxes64).argmin(dim=1)
    keypoints = torch.as_tensor(predicted.keypoints).double()
    distance = keypoints - torch.as_tensor(truth.keypoints)[nearest]
    return float(distance.norm(dim=-1).max())


def failures(measured: Admission, kind: str = "calibrated") -> tuple[str, ...]:
    """The limits that are violated, one message each; none if the weights are admitted.

    Networks that find something have wide peaks, whose best positions differ by little; theirs
    are judged by the accuracy that they reach.
    """
    generic = kind == "calibrated"
    checks = [
        (measured.bf16_sqnr_db >= 20, f"bf16 SQNR {measured.bf16_sqnr_db:.1f} dB < 20 dB"),
        (measured.same_argmax <= 0.1, f"same argmax on {measured.same_argmax:.0%} > 10 %"),
        (not generic or measured.gap >= 0.02, f"median gap {measured.gap:.4f} std < 0.02 std"),
        (measured.gap_over_noise >= 20, f"gap {measured.gap_over_noise:.1f} x noise < 20"),
    ]
    if measured.detections is not None and measured.box_area is not None:
        (low, high), (smallest, largest) = measured.detections, measured.box_area
        checks += [
            (low >= 2 and high <= 200, f"{low} to {high} detections, not 2 to 200"),
            (measured.suppressed >= 1, "an image on which no box is suppressed"),
            (smallest >= 1e-3 and largest <= 0.8, f"boxes of {smallest:.2g} to {largest:.2g}"),
            (measured.at_border <= 0.1, f"{measured.at_border:.0%} of the boxes are clipped"),
        ]
        noise = measured.keypoint_noise_px
        checks.append((noise <= 0.02, f"keypoints {noise:.3f} px from float64 > 0.02 px"))
    return (*(text for passed, text in checks if not passed), *measured.layers)


def table_row(name: str, kind: str, measured: Admission) -> str:
    """One line of the Markdown table."""
    m = measured
    peaks = [f"{m.same_argmax:.3f}", f"{m.gap:.3f}", f"{m.gap_over_noise:.0f}"]
    cells = [name, kind, f"{m.bf16_sqnr_db:.1f}"]
    cells += [*(peaks if math.isfinite(m.gap) else [""] * 3), f"{m.noise:.1e}"]
    detector = [""] * 5
    if m.detections is not None and m.box_area is not None:
        (low, high), (smallest, largest) = m.detections, m.box_area
        detector = [f"{low} to {high}", f"{m.suppressed}", f"{smallest:.3f} to {largest:.3f}"]
        detector += [f"{m.at_border:.3f}", f"{m.keypoint_noise_px:.4f}"]
    return "| " + " | ".join([*cells, *detector, "; ".join(failures(m, kind)) or "yes"]) + " |"


def main(selection: Sequence[str]) -> int:
    """Measure the models of a selection and print the table; 1 if one is not admitted."""
    rows = models_of(selection or [ALL])
    print(
        "| model | weights | bf16 SQNR dB | same argmax | gap, std | gap ÷ noise "
        "| fp32 noise, std | detections | suppressed | box area | clipped | keypoint noise, px "
        "| admitted |"
    )
    print("|---" * 13 + "|")
    admitted = True
    for row in rows:
        model_config = load_model_config(config_path(row))
        for kind in (*locating_kinds(model_config), "calibrated"):
            checkpoint = checkpoint_for(model_config, cache_dir(), row.name, kind=kind)
            measured = measure(build_model(model_config, checkpoint), model_config)
            print(table_row(row.name, kind, measured), flush=True)
            admitted = admitted and not failures(measured, kind)
    return 0 if admitted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
