"""Write the three JSON files of an SDK model folder.

The format is the one MMDeploy 1.3.1's SDK reads.  Names, shapes, dynamic dimensions and precision
come from the loaded backend files, not from the deploy config, so they cannot disagree with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posedeploy.codecs import codec_of
from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.runtime import StoredPrecision, TensorInfo
from posedeploy.sdk.provenance import compact_dataset_meta, detail_json

__all__ = ["Artifact", "compact_dataset_meta", "detail_json", "write_json_files"]

# The SDK format's version: MMDeploy's clients read a string here and compare it with nothing.
FORMAT_VERSION = "1.3.1"
# What the client passes on with each image; MMDeploy writes the same keys.
META_KEYS = (
    "img_shape", "pad_shape", "ori_shape", "img_norm_cfg", "scale_factor", "bbox_score",
    "center", "scale",
)  # fmt: skip


@dataclass(frozen=True)
class Artifact:
    """What the written backend files are.

    Attributes:
        files: File names, the main one first.
        precision: As read from the files.
        inputs: Inputs as the loaded session declares them.
        outputs: Outputs likewise.
        names_are_positions: True if the runtime knows tensors by position only (TorchScript).
        host: What the graph leaves to the host; empty if it holds everything.
        recipe: How its precision was lowered; empty for fp32.
    """

    files: tuple[str, ...]
    precision: StoredPrecision
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    names_are_positions: bool = False
    host: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

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
    """Write `deploy.json`, `pipeline.json` and `detail.json` into `folder`."""
    contents = {
        "deploy.json": deploy_json(artifact, model_config, deploy_config.backend),
        "pipeline.json": pipeline_json(artifact, model_config, deploy_config),
        "detail.json": detail_json(
            model_config,
            deploy_config,
            checkpoint,
            dataset_meta,
            format_version=FORMAT_VERSION,
            recipe=artifact.recipe,
        ),
    }
    for name, content in contents.items():
        text = json.dumps(content, indent=4, default=_plain)
        (folder / name).write_text(text + "\n", encoding="utf-8")


def deploy_json(artifact: Artifact, model_config: ModelConfig, backend: str) -> dict[str, Any]:
    """`deploy.json`: the backend files and how they may be called."""
    entry = {
        "name": model_config.estimator.lower(),
        "net": artifact.files[0],
        "weights": artifact.files[1] if len(artifact.files) > 1 else "",
        "backend": backend,
        "precision": artifact.precision.upper(),
        "batch_size": 1,
        "dynamic_shape": artifact.dynamic_batch,
    }
    return {
        "version": FORMAT_VERSION, "task": "PoseDetector", "models": [entry], "customs": []
    }  # fmt: skip


def pipeline_json(
    artifact: Artifact, model_config: ModelConfig, deploy_config: DeployConfig
) -> dict[str, Any]:
    """`pipeline.json`: pre-processing, network, post-processing."""
    by_position = artifact.names_are_positions
    net = {
        "name": model_config.estimator.lower(),
        "type": "Task",
        "module": "Net",
        "is_batched": artifact.dynamic_batch and not by_position,
        "input": ["prep_output"],
        "output": ["infer_output"],
        "input_map": {"img": "#0" if by_position else artifact.inputs[0].name},
        "output_map": _output_map(artifact, deploy_config),
    }
    preprocess = {
        "type": "Task",
        "module": "Transform",
        "name": "Preprocess",
        "input": ["img"],
        "output": ["prep_output"],
        "transforms": transforms(model_config, _input_size(artifact)),
    }
    component, params = postprocess(model_config, artifact.host)
    decode = {
        "type": "Task",
        "module": "mmpose",
        "name": "postprocess",
        "component": component,
        "params": params,
        "output": ["post_output"],
        "input": ["prep_output", "infer_output"],
    }
    tasks = [preprocess, net, decode]
    return {"pipeline": {"input": ["img"], "output": ["post_output"], "tasks": tasks}}


def _output_map(artifact: Artifact, deploy_config: DeployConfig) -> dict[str, str]:
    """Empty where the graph's names are the ones the post-processing asks for."""
    if artifact.names_are_positions:
        return {name: f"#{i}" for i, name in enumerate(deploy_config.output_names)}
    return {}


def _input_size(artifact: Artifact) -> list[int]:
    """[W, H] in px, from the loaded graph's NCHW input."""
    shape = artifact.inputs[0].shape
    return [int(shape[3]), int(shape[2])]


def transforms(model_config: ModelConfig, size: Sequence[int]) -> list[dict[str, Any]]:
    """The test pipeline in the SDK's words, ending with normalization.

    Args:
        model_config: Whose test pipeline.
        size: [W, H] of the network input, px.
    """
    steps: list[dict[str, Any]] = []
    for step in model_config.test_pipeline:
        translate = _TRANSFORMS.get(str(step["type"]))
        if translate is not None:
            steps.append(translate(step, list(size)))
    normalize = {
        "type": "Normalize",
        "mean": list(model_config.mean),
        "std": list(model_config.std),
        "to_rgb": model_config.bgr_to_rgb,
    }
    collect = {"type": "Collect", "keys": ["img"], "meta_keys": list(META_KEYS)}
    return [*steps, normalize, {"type": "ImageToTensor", "keys": ["img"]}, collect]


Step = Mapping[str, Any]
_TRANSFORMS: Mapping[str, Callable[[Step, list[int]], dict[str, Any]]] = {
    "LoadImage": lambda _step, _size: {"type": "LoadImageFromFile"},
    "GetBBoxCenterScale": lambda step, size: {
        "type": "TopDownGetBboxCenterScale",
        "padding": step.get("padding", 1.25),
        "image_size": size,
    },
    "TopdownAffine": lambda step, size: {
        "type": "TopDownAffine",
        "image_size": size,
        **({"use_udp": True} if step.get("use_udp") else {}),
    },
    "BottomupResize": lambda step, size: {
        **{key: value for key, value in step.items() if key != "input_size"},
        "input_size": size,
    },
}


def postprocess(
    model_config: ModelConfig, host: Mapping[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """Component and parameters: the model's test_cfg, its codec, and the client's fields."""
    head = model_config.head_kind
    if host:
        component = head.stage(host["stage"]).component
        return component, {**host, "input_size": list(model_config.input_size)}
    params: dict[str, Any] = {**model_config.test_cfg, **model_config.codec}
    if codec := codec_of(str(model_config.codec.get("type"))):
        params.update(codec.client_fields(params))
    if head.bottom_up:
        params["input_size"] = list(model_config.input_size)
    return head.stages[0].component, params


def _plain(value: Any) -> Any:
    """Tuples in configs become lists by themselves; numpy numbers need help."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a config holds a {type(value).__name__}, which JSON cannot")
