"""The classes of people that a detector tells apart: how many, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from posedeploy.config.model_config import ModelConfig


def class_count(model_config: ModelConfig) -> int:
    """Classes of a detector's head, 1 for other heads: what its last layers have channels for.

    mmpose's `predict` takes the layers' number, and never the head's own `num_classes`.
    """
    layers = model_config.config["model"]["head"].get("head_module_cfg") or {}
    return int(layers.get("num_classes", 1))


def class_meta(model_config: ModelConfig, meta: Mapping[str, Any]) -> dict[str, list[str]]:
    """`class_names` for a model of several classes, in the order of its labels; else nothing.

    `meta` is a model's `dataset_meta`. Its `classes`, which mmpose's visualizer reads, come first,
    then COCO's categories, which training leaves in `CLASSES`, then `classes` of the config.
    """
    count = class_count(model_config)
    metainfo = model_config.config["test_dataloader"]["dataset"].get("metainfo")
    declared = metainfo.get("classes") if isinstance(metainfo, dict) else None
    for names in (meta.get("classes"), _of_categories(meta.get("CLASSES"), count), declared):
        if count > 1 and isinstance(names, list | tuple) and len(names) == count:
            return {"class_names": list(map(str, names))}
    return {}


def _of_categories(categories: Any, count: int) -> Sequence[str]:
    """Names by label, `category_id - 1` (mmpose 1.3.2, `codecs/annotation_processors.py`)."""
    listed = categories if isinstance(categories, list | tuple) else ()
    names = {c.get("id"): c.get("name") for c in listed if isinstance(c, dict)}
    wanted = [names.get(label + 1) for label in range(count)]
    return [name for name in wanted if isinstance(name, str)]
