"""`AssociativeEmbeddingHead.predict` without the flip test, where MMPose 1.3.2 stops.

It asserts a list of tensors then, and backbones return a tuple; and it resizes the maps, as
`restore_heatmap_size` asks, with the flip test only, while the codec of its configs counts on it.

Where MMPose's result hangs on the last bit or is not specified, it is that of `posedeploy.sdk`:
resizing repeats the values at an edge; of candidates with equal values the first comes first; and
of assignments of equal cost it is the one of `assign`, not the one that the installed munkres
happens to return. The conformance suite compares with MMPose's own, and knows such ties.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from posedeploy.sdk.decode.assignment import assign
from posedeploy.sdk.decode.associative_embedding import resized


def predict(
    head: Any, features: Any, samples: Sequence[Any], test_cfg: Mapping[str, Any] | None = None
) -> Any:
    """`InstanceData` of each image, by mmpose's own grouping."""
    config, size = test_cfg or {}, None
    if config.get("restore_heatmap_size", False):
        height, width = samples[0].metainfo["img_shape"]
        size = (width, height)
    heatmaps, tags = head.forward(features)
    if size is not None:
        aligned = bool(config.get("align_corners", False))
        heatmaps, tags = (_resized(maps, size, aligned) for maps in (heatmaps, tags))
    with _first_of_equals(head.decoder):
        return head.decode((heatmaps, tags))


def _resized(maps: torch.Tensor, size: tuple[int, int], align_corners: bool) -> torch.Tensor:
    """Maps [N, C, h, w] of another (W, H)."""
    images = maps.detach().float().numpy()
    return torch.from_numpy(np.stack([resized(image, size, align_corners) for image in images]))


@contextmanager
def _first_of_equals(codec: Any) -> Iterator[None]:
    """Let a codec take the first of equal candidates, and the assignments of `assign`."""
    from mmpose.codecs import associative_embedding as module

    exact = module._py_max_match
    vars(module)["_py_max_match"] = lambda costs: np.array(assign(costs.astype(np.float64)))
    codec._get_batch_topk = _largest  # an attribute of this instance only
    try:
        yield
    finally:
        vars(module)["_py_max_match"] = exact
        del codec._get_batch_topk


def _largest(heatmaps: torch.Tensor, tags: torch.Tensor, k: int) -> tuple[torch.Tensor, ...]:
    """`AssociativeEmbedding._get_batch_topk` with a stable order: values, tags and locations."""
    count, keypoints, height, width = heatmaps.shape
    order = heatmaps.flatten(2).sort(dim=-1, descending=True, stable=True)
    values, index = (part[..., :k] for part in order)
    every = tags.reshape(count, -1, keypoints, height * width)
    chosen = every.gather(3, index[:, None].expand(-1, every.shape[1], -1, -1))
    places = torch.stack([index % width, torch.div(index, width, rounding_mode="floor")], dim=-1)
    return values, chosen.permute(0, 2, 3, 1), places
