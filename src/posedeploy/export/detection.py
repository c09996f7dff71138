"""What YOLOX-Pose and RTMO share: priors, the choice among them, and a fixed number of rows.

Three stages can be exported: `nms` is the whole detector, `dense` stops before non-maximum
suppression, and `raw` has the outputs of the head's last layers, for backends that decode too
slowly. All coordinates are in input px.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.export.nms import non_max_suppression


@dataclass(frozen=True)
class DetectionSettings:
    """Which priors become detections."""

    score_threshold: float  # lower limit of a score, exclusive; 0 or more
    iou_threshold: float  # a box with a larger IoU with a better one is removed; 1 keeps all
    pre_top_k: int  # largest number of priors, best first, that take part
    max_output: int  # largest number that survive non-maximum suppression
    keep_top_k: int  # M, the number of rows of the outputs


def detection_settings(
    model_config: ModelConfig, deploy_config: DeployConfig
) -> DetectionSettings:
    """The settings in force: the model's `test_cfg` wins over the deploy config (MMDeploy's rule).

    Raises:
        BadInputError: The deploy config has no post-processing, or keeps no rows.
    """
    nms, test_cfg = deploy_config.nms, model_config.test_cfg
    if nms is None:
        raise BadInputError(
            f"{deploy_config.path}: codebase_config.post_processing", "nothing",
            "NMS settings, for this model detects people itself",
            f"Take a pose-detection_{model_config.head_kind.word}_… deploy config.",
        )  # fmt: skip
    keep = int(test_cfg.get("max_per_img", nms.keep_top_k))
    if keep <= 0:
        raise BadInputError(
            f"{deploy_config.path}: codebase_config.post_processing.keep_top_k", str(keep),
            "1 or more: the number of rows that the outputs have", "Change the field.",
        )  # fmt: skip
    limits = [k for k in (nms.pre_top_k, int(test_cfg.get("nms_pre", 0))) if k > 0]
    max_output = nms.max_output_boxes_per_class
    return DetectionSettings(
        score_threshold=max(0.0, float(test_cfg.get("score_thr", nms.score_threshold))),
        iou_threshold=float(test_cfg.get("nms_thr", nms.iou_threshold)),
        pre_top_k=min(limits, default=2**31 - 1),
        max_output=min(max_output, keep) if max_output > 0 else keep,
        keep_top_k=keep,
    )


def priors(head: Any, input_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Points [P, 2] in input px and strides [P] in px, level by level, row by row.

    Raises:
        BadInputError: W or H of the input is no multiple of the head's largest stride.
    """
    width, height = input_size
    strides = [int(stride) for stride in head.featmap_strides]
    if width % max(strides) or height % max(strides):
        raise BadInputError(
            "input_shape", f"{width}x{height} (WxH)",
            f"multiples of {max(strides)}, the network's largest stride",
            "Change input_shape in the deploy config or input_size in the model config.",
        )  # fmt: skip
    # mmpose asks for (h, w) here; its own `switch_to_deploy` passes (w, h)
    sizes = [(height // stride, width // stride) for stride in strides]
    levels = head.prior_generator.grid_priors(sizes, dtype=torch.float32, device="cpu")
    counts = torch.tensor([len(points) for points in levels])
    return torch.cat(levels), torch.tensor(strides).float().repeat_interleave(counts)


def flatten_levels(levels: Sequence[Tensor]) -> Tensor:
    """Maps [N, C, h, w] of every level as one [N, P, C], in the order of `priors`."""
    # -1 for the batch: a constant target, which needs no node that reads a shape
    rows = [
        level.permute(0, 2, 3, 1).reshape(-1, level.shape[2] * level.shape[3], level.shape[1])
        for level in levels
    ]
    return torch.cat(rows, dim=1)


def decode_boxes(offsets: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Offsets (dx, dy, log w, log h) [N, P, 4] in strides → boxes x1, y1, x2, y2 in px.

    The formula of `YOLOXPoseHead.decode_bbox`; boxes may reach out of the input.
    """
    stride = strides.reshape(1, -1, 1)
    center = offsets[..., :2] * stride + points
    half = offsets[..., 2:].exp() * stride / 2
    return torch.cat([center - half, center + half], dim=-1)


def best_class(scores: Tensor) -> Tensor:
    """Scores [N, P, C] → [N, P, 1]: mmpose's heads keep the best class of each prior.

    Suppression is across classes: a person of one class removes one of another.
    """
    return scores if scores.shape[-1] == 1 else scores.amax(dim=-1, keepdim=True)


def class_column(scores: Tensor, index: Tensor, classes: int) -> tuple[Tensor, ...]:
    """The best class of rows `index` [N, M] of scores [N, P, C], as [N, M, 1] in their dtype.

    Nothing if there is one class. Of equal scores the first counts, as in `predict`.
    """
    if classes == 1:
        return ()
    return (take(scores, index, classes).argmax(dim=-1, keepdim=True).to(scores.dtype),)


def take(rows: Tensor, index: Tensor, width: int) -> Tensor:
    """Rows `index` [N, M] of `rows` [N, P, C] → [N, M, C]; `width` is C."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, width))


class Selection(nn.Module):
    """Non-maximum suppression and top-k among `count` priors, to a fixed number of rows."""

    def __init__(self, settings: DetectionSettings, count: int) -> None:
        super().__init__()
        self.settings = settings
        self.count = count

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [N, P, 4] (x1, y1, x2, y2), scores [N, P, 1] → indices, scores, both [N, M].

        Indices are int64; scores descend, and a score of 0 marks a row of padding.
        """
        settings, count = self.settings, self.count
        score, chosen = scores.reshape(-1, count), None
        if settings.pre_top_k < count:
            count = settings.pre_top_k
            score, chosen = score.topk(count, dim=1)
            boxes = take(boxes, chosen, 4)
        rows = min(settings.keep_top_k, count)
        best, index = self._survivors(boxes, score, count).topk(rows, dim=1)
        if chosen is not None:
            index = chosen.gather(1, index)
        if rows < settings.keep_top_k:
            padding = (0, settings.keep_top_k - rows)
            best, index = nn.functional.pad(best, padding), nn.functional.pad(index, padding)
        return index, best

    def _survivors(self, boxes: Tensor, score: Tensor, count: int) -> Tensor:
        """`score` [N, P] with 0 wherever a box does not survive."""
        settings = self.settings
        if settings.iou_threshold >= 1.0:
            return torch.where(score > settings.score_threshold, score, 0.0)
        limits = (settings.max_output, settings.iou_threshold, settings.score_threshold)
        selected = non_max_suppression(boxes, score.unsqueeze(1), *limits)
        flat = score.reshape(-1)
        index = selected[:, 0] * count + selected[:, 2]
        return torch.zeros_like(flat).scatter(0, index, flat[index]).reshape(-1, count)


class Rows(nn.Module):
    """The two outputs from the chosen rows; boxes are clipped to the input (W, H) px."""

    limit: Tensor

    def __init__(self, input_size: tuple[int, int]) -> None:
        super().__init__()
        width, height = (float(side) for side in input_size)
        self.register_buffer("limit", torch.tensor([width, height, width, height]))

    def forward(
        self, boxes: Tensor, scores: Tensor, keypoints: Tensor, *columns: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes [N, M, 4], scores [N, M] and keypoints [N, M, K, 3] → `dets`, `keypoints`.

        `columns` [N, M, 1] become further columns of `dets`. Boxes are clipped after the
        suppression, as `YOLOXPoseHead.predict` does. Rows whose score is 0 become exact zeros.
        """
        clipped = torch.minimum(boxes.clamp(min=0.0), self.limit)
        detected = (scores > 0.0).unsqueeze(-1)
        dets = torch.cat([clipped, scores.unsqueeze(-1), *columns], dim=-1)
        people = torch.where(detected.unsqueeze(-1), keypoints, 0.0)
        return torch.where(detected, dets, 0.0), people
