"""Write the three JSON files of an SDK model folder.

The format is the one MMDeploy 1.3.1's SDK reads.  Names, shapes, dynamic dimensions and precision
come from the loaded backend files, not from the deploy config, so they cannot disagree with them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from posedeploy.codecs import codec_of
from posedeploy.config import DeployConfig, ModelConfig, class_count, type_name
from posedeploy.heads import Stage
from posedeploy.runtime import FlowPrecision, TensorInfo
from posedeploy.sdk.checksums import EDITABLE, checksums
from posedeploy.sdk.folder import DEPLOY, DETAIL, PIPELINE

# The SDK format's version: MMDeploy's clients read a string here and compare it with nothing.
FORMAT_VERSION = "1.3.1"
# What the client passes on with each image; MMDeploy writes the same keys.
META_KEYS = (
    "img_shape", "pad_shape", "ori_shape", "img_norm_cfg", "scale_factor", "bbox_score",
    "center", "scale",
)  # fmt: skip
# Defaults of MMPose 1.3.2's LoadImage, GetBBoxCenterScale and BottomupResize.
DEFAULT_COLOR_TYPE = "color"
DEFAULT_PADDING = 1.25
DEFAULT_PAD_VALUE = (0, 0, 0)


@dataclass(frozen=True)
class Artifact:
    """What the written backend files are."""

    files: tuple[str, ...]  # file names, the main one first
    precision: FlowPrecision  # as read from the files, or bf16
    inputs: tuple[TensorInfo, ...]  # inputs as the loaded session declares them
    outputs: tuple[TensorInfo, ...]  # outputs likewise
    names_are_positions: bool = False  # tensors have positions only (TorchScript)
    host: Mapping[str, Any] = field(default_factory=dict)  # what the graph leaves to the host
    recipe: Mapping[str, Any] = field(default_factory=dict)  # how its precision was lowered

    @property
    def dynamic_batch(self) -> bool:
        """True if axis 0 of the input is dynamic."""
        return not isinstance(self.inputs[0].shape[0], int)


def write_json_files(  # noqa: PLR0917 - what a folder is made of, in one order everywhere
    folder: Path,
    artifact: Artifact,
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    checkpoint: str,
    dataset_meta: Mapping[str, Any],
) -> None:
    """Write `deploy.json`, `pipeline.json` and `detail.json` beside the files in `folder`."""
    _write(folder / DEPLOY, deploy_json(artifact, model_config, deploy_config.backend))
    _write(folder / PIPELINE, pipeline_json(artifact, model_config, deploy_config))
    sums = checksums(folder, [*artifact.files, *EDITABLE])
    facts = model_config, deploy_config, checkpoint, dataset_meta, artifact.recipe
    _write(folder / DETAIL, detail_json(*facts, sums))


def add_facts(folder: Path, **facts: object) -> None:
    """Add entries to our section of a folder's `detail.json`."""
    detail = json.loads((folder / DETAIL).read_text(encoding="utf-8"))
    detail["posedeploy"] |= facts
    _write(folder / DETAIL, detail)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=4, default=_plain) + "\n"
    path.write_bytes(text.encode())  # the same bytes on every system


def deploy_json(artifact: Artifact, model_config: ModelConfig, backend: str) -> dict[str, Any]:
    """`deploy.json`: the backend files and how they may be called."""
    entry = {
        "name": model_config.estimator.lower(),
        "net": artifact.files[0], "weights": artifact.files[1] if artifact.files[1:] else "",
        "backend": backend, "precision": artifact.precision.upper(),
        "batch_size": 1, "dynamic_shape": artifact.dynamic_batch,
    }  # fmt: skip
    return {
        "version": FORMAT_VERSION, "task": "PoseDetector", "models": [entry], "customs": []
    }  # fmt: skip


def pipeline_json(
    artifact: Artifact, model_config: ModelConfig, deploy_config: DeployConfig
) -> dict[str, Any]:
    """`pipeline.json`: pre-processing, network, post-processing."""
    by_position = artifact.names_are_positions
    height, width = map(int, artifact.inputs[0].shape[2:])  # of the loaded graph's NCHW input
    net = {
        "name": model_config.estimator.lower(), "type": "Task", "module": "Net",
        "is_batched": artifact.dynamic_batch and not by_position,
        "input": ["prep_output"], "output": ["infer_output"],
        "input_map": {"img": "#0" if by_position else artifact.inputs[0].name},
        "output_map": _output_map(artifact, model_config, deploy_config),
    }  # fmt: skip
    preprocess = {
        "type": "Task", "module": "Transform", "name": "Preprocess",
        "input": ["img"], "output": ["prep_output"],
        "transforms": transforms(model_config, (width, height)),
    }  # fmt: skip
    component, params = postprocess(model_config, artifact.host)
    decode = {
        "type": "Task", "module": "mmpose", "name": "postprocess",
        "component": component, "params": params,
        "output": ["post_output"], "input": ["prep_output", "infer_output"],
    }  # fmt: skip
    tasks = [preprocess, net, decode]
    return {"pipeline": {"input": ["img"], "output": ["post_output"], "tasks": tasks}}


def _output_map(
    artifact: Artifact, model_config: ModelConfig, deploy_config: DeployConfig
) -> dict[str, str]:
    """Name that the component reads -> position or name in the graph, where it is another."""
    stage, names = _stage(model_config, artifact.host), deploy_config.output_names
    reads = stage.read_names
    if len(names) != len(reads):  # a stage whose names a deploy config does not have
        names = stage.output_names
    by_position = artifact.names_are_positions
    targets = [f"#{i}" for i in range(len(names))] if by_position else names
    pairs = zip(reads, targets, strict=True)
    return {read: target for read, target in pairs if read != target}


def _stage(model_config: ModelConfig, host: Mapping[str, Any]) -> Stage:
    """The stage that a graph ends at, which leaves `host` to the host."""
    head = model_config.head_kind
    return head.stage(host["stage"]) if host else head.stages[0]


def transforms(model_config: ModelConfig, size: Sequence[int]) -> list[dict[str, Any]]:
    """The test pipeline in the SDK's words, for an input of [W, H] px."""
    steps = [_transform(step, list(size)) for step in model_config.test_pipeline]
    mean, std = list(model_config.mean), list(model_config.std)
    normalize = {"type": "Normalize", "mean": mean, "std": std, "to_rgb": model_config.bgr_to_rgb}
    collect = {"type": "Collect", "keys": ["img"], "meta_keys": list(META_KEYS)}
    to_tensor = {"type": "ImageToTensor", "keys": ["img"]}
    return [*filter(None, steps), normalize, to_tensor, collect]


def color_type(model_config: ModelConfig) -> str:
    """How the model's test pipeline reads a file: a key of `sdk.images.COLOR_TYPES`."""
    steps = {type_name(step["type"]): step for step in model_config.test_pipeline}
    return str(steps.get("LoadImage", {}).get("color_type", DEFAULT_COLOR_TYPE))


def _transform(step: Mapping[str, Any], size: list[int]) -> dict[str, Any]:
    """A step of the test pipeline in the SDK's words, {} for the last, which packs."""
    match type_name(step["type"]):
        case "LoadImage":
            color = step.get("color_type", DEFAULT_COLOR_TYPE)
            other = {} if color == DEFAULT_COLOR_TYPE else {"color_type": color}
            return {"type": "LoadImageFromFile", **other}
        case "GetBBoxCenterScale":
            padding = step.get("padding", DEFAULT_PADDING)
            return {"type": "TopDownGetBboxCenterScale", "padding": padding, "image_size": size}
        case "TopdownAffine":
            udp = {"use_udp": True} if step.get("use_udp") else {}
            return {"type": "TopDownAffine", "image_size": size, **udp}
        case "BottomupResize":
            return {**step, "type": "BottomupResize", "input_size": size}
    return {}


def postprocess(
    model_config: ModelConfig, host: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Component and parameters: the model's test_cfg, its codec, and the client's fields."""
    head = model_config.head_kind
    stage = _stage(model_config, host or {})
    if host and not head.codecs:
        return stage.component, {**host, "input_size": list(model_config.input_size)}
    params: dict[str, Any] = {**model_config.test_cfg, **model_config.codec}
    params |= {key: value for key, value in (host or {}).items() if key != "stage"}
    if codec := codec_of(str(model_config.codec.get("type"))):
        params.update(codec.client_fields(params))
    if head.bottom_up:
        params["input_size"] = list(model_config.input_size)
    return stage.component, params | dict(stage.params)


def detail_json(  # noqa: PLR0917 - the sources of its sections, in their order
    model_config: ModelConfig,
    deploy_config: DeployConfig,
    checkpoint: str,
    dataset_meta: Mapping[str, Any],
    recipe: Mapping[str, Any],
    files: Mapping[str, Any],
) -> dict[str, Any]:
    """`detail.json`: where a model came from, and the facts that the folder must match.

    Clients do without this file.  Its section `posedeploy` is ours, the others are MMDeploy's.
    """
    raw = deploy_config.raw
    return {
        "version": FORMAT_VERSION,
        "codebase": {
            "task": "PoseDetection",
            "codebase": "mmpose",
            "version": version("mmpose"),
            "pth": checkpoint,
            "config": str(model_config.path),
        },
        "codebase_config": raw["codebase_config"],
        "onnx_config": raw["ir_config" if "ir_config" in raw else "onnx_config"],
        "backend_config": raw["backend_config"],
        "calib_config": raw.get("calib_config", {}),
        "posedeploy": {
            "version": version("posedeploy"),
            "family": model_config.family,
            "head": model_config.head,
            "dataset_meta": dict(dataset_meta),
            "model": model_facts(model_config, len(dataset_meta.get("keypoint_names", ()))),
            **({"recipe": dict(recipe)} if recipe else {}),
            "files": dict(files),
        },
    }


def model_facts(model_config: ModelConfig, keypoints: int) -> dict[str, Any]:
    """Facts of the model config without which keypoints are silently wrong.

    They come from the config, and clients read the pipeline: a folder in which one of the two was
    changed is recognized.  `keypoints` is 0 where their number is not known.
    """
    steps = {type_name(step["type"]): step for step in model_config.test_pipeline}
    resize = steps.get("BottomupResize") or steps.get("TopdownAffine") or {}
    facts: dict[str, Any] = {
        "mean": list(model_config.mean),
        "std": list(model_config.std),
        "bgr_to_rgb": model_config.bgr_to_rgb,
        "input_size": list(model_config.input_size),
        "use_udp": bool(resize.get("use_udp", False)),
        "color_type": color_type(model_config),
    }
    if keypoints:
        facts["num_keypoints"] = keypoints
    if (classes := class_count(model_config)) > 1:
        facts["num_classes"] = classes
    if model_config.head_kind.bottom_up:
        facts["pad_val"] = list(resize.get("pad_val", DEFAULT_PAD_VALUE))
    else:
        scale = steps.get("GetBBoxCenterScale") or {}
        facts["padding"] = float(scale.get("padding", DEFAULT_PADDING))
    if model_config.head_kind.codecs:  # a detector's graph outputs coordinates itself
        facts["codec"] = dict(model_config.codec)
    return facts


def compact_dataset_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a client needs to name and draw keypoints, from mmpose's parsed metainfo."""
    pairs = {tuple(sorted(pair)) for pair in enumerate(meta.get("flip_indices", ()))}
    colors = {
        key: [[int(part) for part in color] for color in meta.get(key, ())]
        for key in ("keypoint_colors", "skeleton_link_colors")
    }
    return {
        "dataset_name": meta.get("dataset_name", ""),
        "keypoint_names": [meta["keypoint_id2name"][i] for i in range(meta["num_keypoints"])],
        "skeleton_links": [list(link) for link in meta.get("skeleton_links", ())],
        "sigmas": [float(s) for s in meta.get("sigmas", ())],
        **colors,
        "flip_pairs": [list(pair) for pair in sorted(pairs) if pair[0] != pair[1]],
    }


def _plain(value: Any) -> Any:
    """Tuples in configs become lists by themselves; numpy numbers need help."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a config holds a {type(value).__name__}, which JSON cannot")
