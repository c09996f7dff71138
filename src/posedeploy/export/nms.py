"""Non-maximum suppression, as one operation that every writer can express.

In eager mode it is plain PyTorch; in both ONNX exporters it is ONNX's `NonMaxSuppression`; in a
plain trace it is a scripted function, so that the loop stays a loop. All agree with
`mmpose.evaluation.functional.nms_torch`: best first, a box is removed if its IoU with a chosen one
is above the threshold.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def non_max_suppression(
    boxes: Tensor, scores: Tensor, max_output: int, iou_threshold: float, score_threshold: float
) -> Tensor:
    """ONNX's `NonMaxSuppression` for one class.

    Boxes [N, P, 4] (x1, y1, x2, y2 in px) and scores [N, 1, P] → [S, 3] int64 rows (image, class
    0, prior), image by image, best first, at most `max_output` an image. The IoU of two chosen
    boxes is at most `iou_threshold`; scores are above `score_threshold`.
    """
    settings = (max_output, iou_threshold, score_threshold)
    selected: Tensor
    # dynamo first: torch.onnx.is_in_onnx_export() is true under both exporters
    if torch.compiler.is_exporting():
        selected = dynamo_operator()(boxes, scores, *settings)
    elif torch.onnx.is_in_onnx_export():
        selected = _TorchScriptExport.apply(boxes, scores, settings)  # type: ignore[no-untyped-call]
    elif torch._C._get_tracing_state() is not None:
        selected = torch.jit.script(greedy_nms)(boxes, scores, *settings)
    else:
        selected = greedy_nms(boxes, scores, *settings)
    return selected


def greedy_nms(
    boxes: Tensor, scores: Tensor, max_output: int, iou_threshold: float, score_threshold: float
) -> Tensor:
    """The same in plain PyTorch; `torch.jit.script` compiles it."""
    rows: list[Tensor] = []
    for image in range(boxes.shape[0]):
        score = scores[image, 0]
        order = torch.argsort(score, descending=True, stable=True)
        order = order[score[order] > score_threshold]
        count = 0
        while order.numel() > 0 and count < max_output:
            best = boxes[image, order[0]]
            others = boxes[image, order]
            rows.append(torch.stack([torch.full_like(order[0], image), order[0] * 0, order[0]]))
            count += 1
            corner = torch.minimum(best[2:], others[:, 2:]) - torch.maximum(
                best[:2], others[:, :2]
            )
            overlap = corner.clamp(min=0.0).prod(dim=1)
            area = (others[:, 2:] - others[:, :2]).prod(dim=1)
            union = (area[0] + area - overlap).clamp(min=1e-6)  # as mmpose's `bbox_overlaps`
            remains = overlap / union <= iou_threshold
            remains[0] = False
            order = order[remains]
    if len(rows) == 0:
        return torch.zeros((0, 3), dtype=torch.int64, device=boxes.device)
    return torch.stack(rows)


class _TorchScriptExport(torch.autograd.Function):
    """For the TorchScript exporter, which calls `symbolic`, and `forward` while it traces."""

    @staticmethod
    def forward(_ctx: Any, boxes: Tensor, _scores: Tensor, _settings: object) -> Tensor:
        # any row: the exporter records the operator and reads no value
        return torch.zeros((1, 3), dtype=torch.int64, device=boxes.device)

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, settings: tuple[int, float, float]) -> Any:
        dtypes = (torch.int64, torch.float32, torch.float32)
        limits = [
            g.op("Constant", value_t=torch.tensor([value], dtype=dtype))
            for value, dtype in zip(settings, dtypes, strict=True)
        ]
        selected = g.op("NonMaxSuppression", boxes, scores, *limits)
        # the trace saw one row; no constant may be folded from that
        selected.setType(torch._C.TensorType.getInferred().with_dtype(torch.int64))
        return selected


@functools.cache
def dynamo_operator() -> Callable[..., Tensor]:
    """The operator for the dynamo exporter; its translation is in `exporters`."""

    @torch.library.custom_op("posedeploy::non_max_suppression", mutates_args=())
    def operator(
        boxes: Tensor,
        scores: Tensor,
        max_output: int,
        iou_threshold: float,
        score_threshold: float,
    ) -> Tensor:
        return greedy_nms(boxes, scores, max_output, iou_threshold, score_threshold)

    @operator.register_fake
    def _(boxes: Tensor, *_others: object) -> Tensor:
        rows = torch.library.get_ctx().new_dynamic_size()
        return boxes.new_empty((rows, 3), dtype=torch.int64)

    return operator
