"""Non-maximum suppression: plain PyTorch, scripted, mmpose's and ONNX Runtime's agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from posedeploy.compat import install
from posedeploy.export.nms import greedy_nms, non_max_suppression

IOU, SCORE, MAX_OUTPUT = 0.5, 0.4, 50


def _crowd(seed: int, images: int = 1, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes [N, P, 4] in clusters, so that many overlap, and scores [N, 1, P]."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand((images, count // 6, 2), generator=generator).repeat(1, 6, 1) * 100
    center = centers + 4 * torch.randn((images, count, 2), generator=generator)
    half = 10 + 5 * torch.rand((images, count, 2), generator=generator)
    boxes = torch.cat([center - half, center + half], dim=-1)
    return boxes, torch.rand((images, 1, count), generator=generator)


def _onnx_nms(
    boxes: torch.Tensor,
    scores: torch.Tensor,
    max_output: int,
    iou_threshold: float,
    score_threshold: float,
) -> Any:
    limits = [
        onnx.helper.make_tensor("max_output", onnx.TensorProto.INT64, [1], [max_output]),
        onnx.helper.make_tensor("iou", onnx.TensorProto.FLOAT, [1], [iou_threshold]),
        onnx.helper.make_tensor("score", onnx.TensorProto.FLOAT, [1], [score_threshold]),
    ]
    names = ["boxes", "scores", "max_output", "iou", "score"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("NonMaxSuppression", names, ["selected"])],
        "nms",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(tensor.shape))
            for name, tensor in (("boxes", boxes), ("scores", scores))
        ],
        [onnx.helper.make_tensor_value_info("selected", onnx.TensorProto.INT64, [None, 3])],
        limits,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})[0]


@pytest.mark.parametrize("seed", range(5))
def test_as_mmpose_suppresses(seed: int) -> None:
    install()
    from mmpose.evaluation.functional import nms_torch

    boxes, scores = _crowd(seed)
    candidates = torch.nonzero(scores[0, 0] > SCORE)[:, 0]
    selected = nms_torch(boxes[0, candidates], scores[0, 0, candidates], IOU)
    rows = greedy_nms(boxes, scores, MAX_OUTPUT, IOU, SCORE)
    assert 1 < len(rows) < len(candidates)
    assert torch.equal(rows[:, 2], candidates[selected])


@pytest.mark.parametrize("seed", range(3))
def test_as_onnx_defines_it(seed: int) -> None:
    boxes, scores = _crowd(seed, images=3)
    ours = greedy_nms(boxes, scores, MAX_OUTPUT, IOU, SCORE)
    np.testing.assert_array_equal(ours.numpy(), _onnx_nms(boxes, scores, MAX_OUTPUT, IOU, SCORE))
    assert len(set(ours[:, 0].tolist())) == 3


def test_scripted_it_stays_a_loop() -> None:
    scripted = torch.jit.script(greedy_nms)
    for seed, images in ((0, 1), (1, 2), (2, 3)):
        boxes, scores = _crowd(seed, images)
        assert torch.equal(
            scripted(boxes, scores, MAX_OUTPUT, IOU, SCORE),
            greedy_nms(boxes, scores, MAX_OUTPUT, IOU, SCORE),
        )


def test_a_plain_trace_depends_on_the_boxes() -> None:
    def network(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return non_max_suppression(boxes, scores, MAX_OUTPUT, IOU, SCORE)

    traced = torch.jit.trace(network, _crowd(0, images=2), check_trace=False)  # type: ignore[no-untyped-call]
    for seed in (1, 2):
        crowd = _crowd(seed, images=3)
        assert torch.equal(traced(*crowd), network(*crowd))


def test_the_score_threshold_is_exclusive_and_the_count_limited() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [60, 0, 69, 9]]])
    scores = torch.tensor([[[0.5, 0.7, 0.9, 0.6]]])
    assert greedy_nms(boxes, scores, 9, IOU, 0.5)[:, 2].tolist() == [2, 1, 3]
    assert greedy_nms(boxes, scores, 2, IOU, 0.5)[:, 2].tolist() == [2, 1]


def test_an_iou_at_the_threshold_stays() -> None:
    boxes = torch.tensor([[[0.0, 0, 4, 4], [0, 0, 4, 2]]])  # the IoU is exactly one half
    scores = torch.tensor([[[0.9, 0.8]]])
    assert len(greedy_nms(boxes, scores, 9, 0.5, 0.1)) == 2
    assert len(greedy_nms(boxes, scores, 9, 0.49, 0.1)) == 1


def test_boxes_without_area_suppress_nothing() -> None:
    boxes = torch.zeros((1, 3, 4))
    scores = torch.tensor([[[0.9, 0.8, 0.7]]])
    rows = greedy_nms(boxes, scores, 9, IOU, 0.1)
    assert len(rows) == 3
    np.testing.assert_array_equal(rows.numpy(), _onnx_nms(boxes, scores, 9, IOU, 0.1))


def test_no_candidate_gives_no_row() -> None:
    boxes, scores = _crowd(0)
    assert greedy_nms(boxes, scores, MAX_OUTPUT, IOU, 1.0).shape == (0, 3)
