"""`detail.json`: where a model came from, and the facts of its config that a folder must match.

Clients do without this file; `posedeploy validate` compares the rest of the folder with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posedeploy.config import DeployConfig, ModelConfig

# Defaults of MMPose 1.3.2's GetBBoxCenterScale and BottomupResize.
DEFAULT_PADDING = 1.25
DEFAULT_PAD_VALUE = (0, 0, 0)


def detail_json(
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    checkpoint: str,
    dataset_meta: Mapping[str, Any],
    *,
    format_version: str,
    recipe: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`detail.json`; its section `posedeploy` is ours, the others are MMDeploy's.

    Args:
        model_config: The model.
        deploy_config: How it was converted.
        checkpoint: Where its weights came from.
        dataset_meta: What its keypoints are called, as `compact_dataset_meta` gives it.
        format_version: Version of the SDK format.
        recipe: How the precision was lowered: which layers stayed as they were and, for int8,
            what the ranges were measured on.
    """
    raw = deploy_config.raw
    ir_key = "ir_config" if "ir_config" in raw else "onnx_config"
    return {
        "version": format_version,
        "codebase": {
            "task": "PoseDetection",
            "codebase": "mmpose",
            "version": version("mmpose"),
            "pth": checkpoint,
            "config": str(model_config.path),
        },
        "codebase_config": raw["codebase_config"],
        "onnx_config": raw[ir_key],
        "backend_config": raw["backend_config"],
        "calib_config": raw.get("calib_config", {}),
        "posedeploy": {
            "version": version("posedeploy"),
            "family": model_config.family,
            "head": model_config.head,
            "dataset_meta": dict(dataset_meta),
            "model": model_facts(model_config, len(dataset_meta.get("keypoint_names", ()))),
            **({"recipe": dict(recipe)} if recipe else {}),
        },
    }


def model_facts(model_config: ModelConfig, keypoints: int) -> dict[str, Any]:
    """Facts of the model config without which keypoints are silently wrong.

    They come from the config, and clients read the pipeline: a folder in which one of the two was
    changed is recognized.

    Args:
        model_config: The model.
        keypoints: How many keypoints the data set has; 0 where that is not known.
    """
    steps = {str(step["type"]).rsplit(".", 1)[-1]: step for step in model_config.test_pipeline}
    resize = steps.get("BottomupResize") or steps.get("TopdownAffine") or {}
    facts: dict[str, Any] = {
        "mean": list(model_config.mean),
        "std": list(model_config.std),
        "bgr_to_rgb": model_config.bgr_to_rgb,
        "input_size": list(model_config.input_size),
        "use_udp": bool(resize.get("use_udp", False)),
    }
    if keypoints:
        facts["num_keypoints"] = keypoints
    if model_config.head_kind.bottom_up:
        # A bottom-up graph outputs coordinates itself: its codec encodes labels for training only.
        facts["pad_val"] = list(resize.get("pad_val", DEFAULT_PAD_VALUE))
    else:
        scale = steps.get("GetBBoxCenterScale") or {}
        facts["padding"] = float(scale.get("padding", DEFAULT_PADDING))
        facts["codec"] = dict(model_config.codec)
    return facts


def compact_dataset_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a client needs to name and draw keypoints, from mmpose's parsed metainfo."""
    names = [meta["keypoint_id2name"][i] for i in range(meta["num_keypoints"])]
    pairs = {tuple(sorted(pair)) for pair in enumerate(meta.get("flip_indices", ()))}
    return {
        "dataset_name": meta.get("dataset_name", ""),
        "keypoint_names": names,
        "skeleton_links": [list(link) for link in meta.get("skeleton_links", ())],
        "sigmas": [float(s) for s in meta.get("sigmas", ())],
        "keypoint_colors": _colors(meta.get("keypoint_colors", ())),
        "skeleton_link_colors": _colors(meta.get("skeleton_link_colors", ())),
        "flip_pairs": [list(pair) for pair in sorted(pairs) if pair[0] != pair[1]],
    }


def _colors(colors: Sequence[Sequence[float]]) -> list[list[int]]:
    return [[int(part) for part in color] for color in colors]
