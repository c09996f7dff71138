"""The rest of a detector whose graph ends before non-maximum suppression, by mmpose's own code.

Some backends cannot hold suppression in their graph.  To judge such a graph by what it is for, its
outputs have to become detections, and not by the toolchain's hand: here mmpose's head continues
from the graph's outputs in place of its own layers', with its own thresholds.  The toolchain's
host-side stage is judged apart, through the SDK client.

Called by name in a child process that has torch loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.reference.network import load_model

# What graphs without suppression put out, in the order of the contract
DENSE = ("boxes", "scores", "keypoints")
RAW: Mapping[str, tuple[str, ...]] = {
    "YOLOXPoseHead": ("cls", "obj", "bbox", "kpt_offset", "kpt_vis"),
    "RTMOHead": ("cls", "bbox", "kpt_vis", "pose_vec"),
}


def detections(
    config_path: str, checkpoint: str, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]
) -> dict[str, NDArray[np.float32]]:
    """Detections of a image from outputs before suppression.

    Args:
        config_path: MMPose model config.
        checkpoint: Its checkpoint.
        outputs: `DENSE` or `RAW` outputs of one image, `[1, P, ...]`.
        size: (H, W) of the network's input, px.

    Returns:
        `dets [1, M, 5]` and `keypoints [1, M, K, 3]` in input px, one row a person.
    """
    model = load_model(config_path, checkpoint)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in outputs.items()}
    find = _from_dense if set(DENSE) <= set(tensors) else _from_raw
    with torch.no_grad():
        boxes, scores, places, visible = find(model, tensors, size)
    dets = torch.cat([boxes, scores.reshape(-1, 1)], dim=-1)
    keypoints = torch.cat([places, visible.unsqueeze(-1)], dim=-1)
    return {"dets": dets[None].float().numpy(), "keypoints": keypoints[None].float().numpy()}


Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _from_raw(model: Any, tensors: Mapping[str, torch.Tensor], size: tuple[int, int]) -> Found:
    """`head.predict`, its layers replaced by the graph's outputs."""
    from mmpose.structures import PoseDataSample

    height, width = size
    names = RAW[type(model.head).__name__]
    strides = model.head.featmap_strides
    levels = [_as_maps(tensors[name], size, strides) for name in names]
    if len(levels) == 4:  # RTMOHead has offsets of keypoints third, which `predict` ignores
        levels.insert(2, levels[2])
    sample = PoseDataSample(metainfo={"input_size": (width, height)})
    model.head.forward = lambda _: tuple(levels)  # an attribute of this instance only
    try:
        found = model.head.predict(None, [sample], dict(model.test_cfg))[0]
    finally:
        del model.head.forward
    return tuple(
        torch.as_tensor(np.asarray(found[name]))
        for name in ("bboxes", "scores", "keypoints", "keypoint_scores")
    )  # type: ignore[return-value]


def _as_maps(rows: torch.Tensor, size: tuple[int, int], strides: Any) -> list[torch.Tensor]:
    """Rows `[1, P, C]` as maps `[1, C, h, w]`, one a level: the order of mmpose's priors."""
    maps, start = [], 0
    for stride in strides:
        h, w = size[0] // int(stride), size[1] // int(stride)
        part = rows[:, start : start + h * w]
        maps.append(part.permute(0, 2, 1).reshape(len(rows), -1, h, w))
        start += h * w
    return maps


def _from_dense(model: Any, tensors: Mapping[str, torch.Tensor], size: tuple[int, int]) -> Found:
    """What `head.predict` does after decoding: threshold, `nms_torch`, clipping."""
    from mmpose.evaluation.functional import nms_torch

    height, width = size
    boxes, scores, keypoints = (tensors[name][0] for name in DENSE)
    scores = scores.reshape(-1)
    above = scores > model.test_cfg["score_thr"]
    boxes, scores, keypoints = boxes[above], scores[above], keypoints[above]
    if len(boxes):
        kept = nms_torch(boxes, scores, model.test_cfg["nms_thr"])
        boxes, scores, keypoints = boxes[kept], scores[kept], keypoints[kept]
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    return boxes.clamp(min=0.0).minimum(limits), scores, keypoints[..., :2], keypoints[..., 2]
