"""`AssociativeEmbeddingHead.predict` without the flip test, where MMPose 1.3.2 stops.

It asserts a list of tensors then, and backbones return a tuple; and it resizes the maps, as
`restore_heatmap_size` asks, with the flip test only, while the codec of its configs counts on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def predict(
    head: Any, features: Any, samples: Sequence[Any], test_cfg: Mapping[str, Any] | None = None
) -> Any:
    """mmpose's `InstanceData` of each image, by its own grouping."""
    from mmpose.models.utils.tta import aggregate_heatmaps

    config, size = test_cfg or {}, None
    if config.get("restore_heatmap_size", False):
        height, width = samples[0].metainfo["img_shape"]
        size = (width, height)
    heatmaps, tags = (
        aggregate_heatmaps([maps], size, config.get("align_corners", False), mode="average")
        for maps in head.forward(features)
    )
    return head.decode((heatmaps, tags))
