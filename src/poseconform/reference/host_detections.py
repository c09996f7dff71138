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

from poseconform.compare.metrics import Detections
from poseconform.matrix.cells import Model
from poseconform.reference.grouping import as_detections, grouped
from poseconform.reference.heads import (
    DENSE,
    BottomUp,
    Grouping,
    ReferenceHead,
    reference_head,
)
from poseconform.reference.network import load_model, prepare
from poseconform.reference.values import Sample

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
    if isinstance(head.kind, Grouping):
        detected = _grouped(model, head, runs, size)
    else:
        detected = [[_finished(model, head.kind, outputs, size)] for outputs in runs]
    rows = max(1, *(len(people[0]) for images in detected for people in images))
    return [_joined([_as_outputs(people, rows) for people in images]) for images in detected]


def _grouped(
    model: Any,
    head: ReferenceHead,
    runs: Sequence[Mapping[str, NDArray[Any]]],
    size: tuple[int, int],
) -> list[list[People]]:
    """The people of each image of each run, by mmpose's own grouping of the graph's maps."""
    blank = Sample(
        "blank", np.zeros((*size, 3), np.uint8), (0.0, 0.0, float(size[1]), float(size[0]))
    )
    sample = prepare(model, [blank], top_down=False)["data_samples"][0]
    return [
        [
            _of_detections(
                as_detections(
                    grouped(head, model, {n: maps[i : i + 1] for n, maps in run.items()}, sample)
                )
            )
            for i in range(len(next(iter(run.values()))))
        ]
        for run in runs
    ]


def _of_detections(found: Detections) -> People:
    parts = found.boxes, found.scores, found.keypoints, found.keypoint_scores
    labels = torch.zeros(len(found), dtype=torch.int64)
    return *(torch.from_numpy(part) for part in parts), labels


def _finished(
    model: Any, kind: Any, outputs: Mapping[str, NDArray[Any]], size: tuple[int, int]
) -> People:
    """The people of one image, of candidates or of what a detector's last layers output."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in outputs.items()}
    with torch.no_grad():
        if set(DENSE) <= set(tensors):
            return _from_dense(model, tensors, size)
        return _from_raw(model, cast("BottomUp", kind).layers, tensors, size)


def _joined(images: Sequence[dict[str, NDArray[np.float32]]]) -> dict[str, NDArray[np.float32]]:
    return {name: np.concatenate([image[name] for image in images]) for name in images[0]}


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
