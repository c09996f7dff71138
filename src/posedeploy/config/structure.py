"""Whether a config has the parts that an MMPose config has, each of its kind."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError

# ---- modify this table to add a part -------------------------------------------------------
# where it is -> whether a config must have it, and whether it has a type
_DICTS: Mapping[str, tuple[bool, bool]] = {
    "model": (True, True),
    "model.backbone": (True, True),
    "model.data_preprocessor": (False, False),
    "model.head": (True, True),
    "model.neck": (False, True),
    "model.test_cfg": (False, False),
    "test_dataloader": (True, False),
    "test_dataloader.dataset": (True, False),
}
# --------------------------------------------------------------------------------------------
SCOPE = "mmpose"
COUNTS = ("num_keypoints", "num_joints", "out_channels")  # fields of heads
_NEXT = "Correct the model config, or inherit from one that mmpose ships, as _base_."


def pose_head(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a config with the head that finds keypoints: `VisPredictHead` is around it."""
    head: Mapping[str, Any] = model["head"]
    inner = head.get("pose_cfg")
    return inner if isinstance(inner, dict) else head


def check_structure(path: Path, config: Any) -> None:
    """Raise BadInputError for a part of a config that is missing or of another kind.

    `config` is an `mmengine.config.Config` with a model, a head and a backbone.
    """
    for where, (required, typed) in _DICTS.items():
        part: Any = config
        for name in where.split("."):
            part = part.get(name)
        if part is None and not required:
            continue
        if not isinstance(part, dict):
            raise _misfit(path, where, part, "a dict")
        if typed and not (isinstance(part.get("type"), str) and part["type"]):
            raise _misfit(path, f"{where}.type", part.get("type"), "the name of a class")
    if (scope := config.get("default_scope")) not in {None, SCOPE}:
        raise _misfit(path, "default_scope", scope, f"{SCOPE!r}, whose registries have the types")
    _check_lists(path, config)


def _check_lists(path: Path, config: Any) -> None:
    """The codecs, of which there may be several, and the test pipeline."""
    codecs = pose_head(config["model"]).get("decoder")
    for codec in codecs if isinstance(codecs, list | tuple) else [codecs]:
        if not isinstance(codec, dict | None):
            raise _misfit(path, "model.head.decoder", codec, "a codec, a dict with a type")
    pipeline = config["test_dataloader"]["dataset"].get("pipeline")
    if not isinstance(pipeline, list | tuple):
        where = "test_dataloader.dataset.pipeline"
        raise _misfit(path, where, pipeline, "a list of transforms")
    for i, step in enumerate(pipeline):
        if not (isinstance(step, dict) and isinstance(step.get("type"), str)):
            where = f"test_dataloader.dataset.pipeline[{i}]"
            raise _misfit(path, where, step, "a dict with a type")


def _misfit(path: Path, where: str, value: Any, expected: str) -> BadInputError:
    found = "nothing" if value is None else reprlib.repr(value)
    return BadInputError(f"{path}: {where}", found, expected, _NEXT)


def keypoint_count(path: Path, model: Mapping[str, Any], codec: Mapping[str, Any]) -> int | None:
    """Number of keypoints that a model finds by its config; None where that says nothing.

    It is that of `test_cfg.output_keypoint_indices`, or else of the head: detectors have
    `num_keypoints`, regression heads `num_joints`, the others one channel a keypoint, and three
    with the codec UDPHeatmap of type 'combined' (mmpose/codecs/udp_heatmap.py).

    Raises:
        BadInputError: The number is none.
    """
    head, chosen = pose_head(model), (model.get("test_cfg") or {}).get("output_keypoint_indices")
    if isinstance(chosen, list | tuple):
        return len(chosen)
    name = next((name for name in COUNTS if name in head), "")
    if not name:
        return None
    channels = 3 if codec.get("heatmap_type") == "combined" and name == "out_channels" else 1
    count, where = head[name], f"model.head.{name}"
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise _misfit(path, where, count, "the number of keypoints")
    if count % channels:
        raise _misfit(path, where, count, "three channels a keypoint, for this codec")
    return count // channels
