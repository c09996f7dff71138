"""The rest of a detector whose graph ends before non-maximum suppression, by mmpose's own code.

Some backends cannot hold suppression in their graph. To judge such a graph, its outputs have to
become detections without code of the toolchain: mmpose's head continues from the graph's outputs
in place of its own layers', with its own thresholds. The toolchain's host-side stage is judged
apart, through the SDK client.

Called by name in a child process that has torch loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.matrix.cells import Model
from poseconform.reference.heads import DENSE, BottomUp, ReferenceHead, reference_head
from poseconform.reference.network import load_model

# Boxes, scores, keypoints, visibilities, classes
People = tuple[torch.Tensor, ...]


def detections(
    judged: Model, checkpoint: str, runs: Sequence[Mapping[str, NDArray[Any]]]
) -> list[dict[str, NDArray[np.float32]]]:
    """Detections from dense or raw outputs of one image each, `[1, P, ...]`.

    `dets [1, M, 6]` and `keypoints [1, M, K, 3]` in input px for each image, a row a person,
    padded with zero rows to the M of the image with the most people. The last column of `dets` is
    the class.
    """
    model = load_model(judged.config, checkpoint)
    return finish(model, reference_head(judged.head), runs, judged.shape)


def finish(
    model: Any,
    head: ReferenceHead,
    runs: Sequence[Mapping[str, NDArray[Any]]],
    size: tuple[int, int],
) -> list[dict[str, NDArray[np.float32]]]:
    """The same for a loaded model and the (H, W) of its input, px."""
    detected = []
    for outputs in runs:
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in outputs.items()}
        with torch.no_grad():
            if set(DENSE) <= set(tensors):
                people = _from_dense(model, tensors, size)
            else:
                people = _from_raw(model, cast("BottomUp", head.kind).layers, tensors, size)
        detected.append(people)
    rows = max(1, *(len(people[0]) for people in detected))
    return [_as_outputs(people, rows) for people in detected]


def _as_outputs(people: People, rows: int) -> dict[str, NDArray[np.float32]]:
    boxes, scores, points, visible, labels = people
    dets = torch.cat([boxes, scores.reshape(-1, 1), labels.reshape(-1, 1)], dim=-1)
    keypoints = torch.cat([points, visible.unsqueeze(-1)], dim=-1)
    pad = rows - len(dets)
    return {
        "dets": np.pad(dets[None].float().numpy(), [(0, 0), (0, pad), (0, 0)]),
        "keypoints": np.pad(keypoints[None].float().numpy(), [(0, 0), (0, pad), (0, 0), (0, 0)]),
    }


def _from_raw(
    model: Any, layers: Sequence[str], tensors: Mapping[str, torch.Tensor], size: tuple[int, int]
) -> People:
    """`head.predict`, its layers replaced by the graph's outputs."""
    from mmpose.structures import PoseDataSample

    height, width = size
    strides = model.head.featmap_strides
    # any maps will do for a layer that `predict` does not read
    levels = [_as_maps(tensors[name or layers[0]], size, strides) for name in layers]
    sample = PoseDataSample(metainfo={"input_size": (width, height)})
    model.head.forward = lambda _: tuple(levels)  # an attribute of this instance only
    try:
        instances = model.head.predict(None, [sample], dict(model.test_cfg))[0]
    finally:
        del model.head.forward
    return tuple(
        torch.as_tensor(np.asarray(instances[name]))
        for name in ("bboxes", "scores", "keypoints", "keypoint_scores", "labels")
    )


def _as_maps(rows: torch.Tensor, size: tuple[int, int], strides: Any) -> list[torch.Tensor]:
    """Rows `[1, P, C]` as maps `[1, C, h, w]`, one a level: the order of mmpose's priors."""
    maps, start = [], 0
    for stride in strides:
        h, w = size[0] // int(stride), size[1] // int(stride)
        part = rows[:, start : start + h * w]
        maps.append(part.permute(0, 2, 1).reshape(len(rows), -1, h, w))
        start += h * w
    return maps


def _from_dense(model: Any, tensors: Mapping[str, torch.Tensor], size: tuple[int, int]) -> People:
    """What `head.predict` does after decoding: best class, threshold, `nms_torch`, clipping."""
    from mmpose.evaluation.functional import nms_torch

    height, width = size
    boxes, scores, keypoints = (tensors[name][0] for name in DENSE)
    scores, labels = scores.max(dim=1)
    chosen = torch.nonzero(scores > model.test_cfg["score_thr"])[:, 0]
    if len(chosen):
        chosen = chosen[nms_torch(boxes[chosen], scores[chosen], model.test_cfg["nms_thr"])]
    boxes, scores, keypoints, labels = (x[chosen] for x in (boxes, scores, keypoints, labels))
    limits = torch.tensor([width, height, width, height], dtype=boxes.dtype)
    clipped = boxes.clamp(min=0.0).minimum(limits)
    return clipped, scores, keypoints[..., :2], keypoints[..., 2], labels
