"""The implementation under test: an adapter module, one of two that know the toolchain.

The judge asks three things of an implementation: what there is to convert, to export, and to
deploy.  What comes back is a folder; everything said about it is read from the folder.
Functions that take paths run in a child process that has torch loaded.

To judge another toolchain, write the functions of this module over it.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import posedeploy
from poseconform.isolation.artifacts import ArtifactCache, content_key, file_sha256, tree_sha256
from poseconform.matrix.cells import Flow, Model
from posedeploy import compat
from posedeploy.config import (
    FAMILIES,
    OTHER_FAMILY,
    list_deploy_configs,
    load_deploy_config,
    load_model_config,
)
from posedeploy.runtime import Availability

NAME = "posedeploy"
# Packages whose version can change what is exported or computed.
PACKAGES = (
    "torch", "mmpose", "mmengine", "mmcv-lite", "mmcv", "mmdet", "numpy", "onnx", "onnxscript",
    "coremltools", "onnxruntime", "onnxruntime-gpu", "opencv-python-headless", "openvino", "ncnn",
    "nncf", "pnnx", "polygraphy", "tensorrt", "tensorrt-cu12", "tensorrt-cu13",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """One cell to convert, as the child gets it.

    Attributes:
        model_config: Path of the MMPose config.
        checkpoint: Path of the checkpoint.
        deploy_config: Name or path of the deploy config.
        exporter: 'torchscript', 'dynamo', or '' for the deploy config's.
        cache_root: Root of the artifact cache.
        toolchain: `toolchain_key()`.
    """

    model_config: str
    checkpoint: str
    deploy_config: str
    exporter: str
    cache_root: str
    toolchain: str


def models(selection: Sequence[str]) -> tuple[Model, ...]:
    """The zoo's models of a selection of tiers and names."""
    from posedeploy.zoo import config_path, models_of

    return tuple(
        replace(model_from_config(str(config_path(row))), name=row.name, tiers=tuple(row.tiers))
        for row in models_of(selection)
    )


def all_tiers() -> tuple[str, ...]:
    """Names of the zoo's tiers."""
    from posedeploy.zoo import TIERS

    return tuple(TIERS)


def all_families() -> tuple[str, ...]:
    """The rows of the support table."""
    return tuple(sorted(set(FAMILIES.values())))


def marked_families() -> tuple[str, ...]:
    """Every word that a model's family can be: the rows, and the one for models outside them."""
    return (*all_families(), OTHER_FAMILY)


def in_zoo(model: Model) -> bool:
    """True if the model can be named on the command line, False if only its config can."""
    from posedeploy.apis.sources import is_zoo_name

    return is_zoo_name(model.name)


def model_from_config(path: str, checkpoint: str = "") -> Model:
    """A model from the user's MMPose config and checkpoint."""
    config = load_model_config(path)
    width, height = config.input_size
    return Model(
        name=Path(path).stem,
        family=config.family,
        tiers=(),
        variant=config.head_kind.word,
        shape=(height, width),
        config=str(path),
        checkpoint=checkpoint,
        places=int(config.test_cfg.get("max_per_img", 0)),
    )


def flows(more: Sequence[str] = ()) -> tuple[Flow, ...]:
    """Every deploy config of the project, and those that the user names."""
    return tuple(_flow(name) for name in (*list_deploy_configs(), *more))


def conversion_availability(backend: str) -> Availability:
    """Whether the implementation can convert for a backend here, be it able to run it or not."""
    from posedeploy.convert import conversion_availability as available

    return available(backend)


def tied(backend: str) -> bool:
    """Whether the implementation builds files for this machine's device, which takes its time."""
    from posedeploy.convert import built_for

    return bool(built_for(backend))


def missing_tools(backend: str) -> tuple[str, ...]:
    """What the implementation needs to convert for a backend, and is not there."""
    from posedeploy.convert import missing_tools as missing

    return missing(backend)


@cache  # reading all 165 takes a second, and each int8 cell looks through them for its twin
def _flow(name: str) -> Flow:
    config = load_deploy_config(name)
    shape = (config.input_shape[1], config.input_shape[0]) if config.input_shape else None
    return Flow(
        deploy_config=name,
        variant=config.variant,
        backend=config.backend,
        precision=config.precision,
        shape_mode=config.shape_mode,
        shape=shape,
        places=config.nms.keep_top_k if config.nms else 0,
        inference_precision=config.inference_precision,
    )


@cache
def toolchain_key() -> str:
    """A hash of everything but model and config that a conversion depends on."""
    root = Path(posedeploy.__file__).parent
    parts: dict[str, object] = {"source": tree_sha256(root), "packages": versions(PACKAGES)}
    return content_key("toolchain", parts)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of each package that is installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read_model_config(path: str) -> Any:
    """An MMEngine config that mmpose can build from here (child side)."""
    compat.install()
    config = load_model_config(path).config
    config.model = compat.without_missing_scopes(config.model)
    return config


@cache
def config_text(path: str) -> str:
    """A model config with everything it inherits, as text."""
    return str(load_model_config(path).config.pretty_text)


def read_codec(path: str) -> Mapping[str, Any]:
    """The codec that decodes a model's outputs (child side)."""
    compat.install()
    import mmpose.codecs  # noqa: F401  fills the registry

    return load_model_config(path).codec


def read_state_dict(checkpoint: Path) -> Any:
    """A checkpoint's state dict, read safely (child side)."""
    from posedeploy.zoo.checkpoints import load_checkpoint

    return load_checkpoint(checkpoint).state_dict


def checkpoint_for(name_or_config: str, kind: str = "calibrated", seed: int = 0) -> str:
    """A checkpoint for a zoo name or a config, made if it is not cached (child side).

    Args:
        name_or_config: Zoo name, or path of an MMPose config.
        kind: One of `weights.KINDS`.
        seed: Decides the weights.
    """
    from posedeploy.apis.sources import resolve_checkpoint

    return str(resolve_checkpoint(name_or_config, kind, seed))


def fetch_published(models: Sequence[Model]) -> None:
    """Download the published checkpoints of the zoo's models that are not there yet.

    Raises:
        posedeploy.errors.PoseDeployError: A model has none, or the network is not there; the
            message names the file to put where.
    """
    from posedeploy.apis.sources import published_checkpoint

    for model in models:
        if not model.checkpoint:
            published_checkpoint(model.name if model.tiers else model.config)


@cache
def can_fit(model: Model) -> bool:
    """Whether there are fitted weights for a model."""
    from posedeploy.synthetic.fitting import can_fit as can

    return can(load_model_config(model.config))


def convert(request: Request) -> dict[str, Any]:
    """Export (once a representation) and deploy (once a cell), through the cache (child side).

    Returns:
        'folder' of the SDK model, and facts of both steps: seconds, exporter, graph, whether each
        was made now or found.
    """
    from posedeploy.convert import built_for

    deploy_config = load_deploy_config(request.deploy_config)
    cache = ArtifactCache(Path(request.cache_root))
    exported = cache.get_or_make(
        content_key("export", _export_parts(request, deploy_config)),
        lambda folder: _export(request, deploy_config, folder),
    )
    key = content_key(
        "sdk", {"export": exported.key, "deploy_config": deploy_config.raw,
                "toolchain": request.toolchain, "target": built_for(deploy_config.backend)},
    )  # fmt: skip
    deployed = cache.get_or_make(key, lambda f: _deploy(request, exported.path, f))
    return {
        "folder": str(deployed.path / "sdk"),
        "files": deployed.files,
        "export": {**exported.facts, "made": exported.made},
        "convert": {**deployed.facts, "made": deployed.made},
    }


def _export_parts(request: Request, deploy_config: Any) -> dict[str, object]:
    from posedeploy.apis.exporting import export_spec

    return {
        "model_config": config_text(request.model_config),
        "checkpoint": file_sha256(Path(request.checkpoint)),
        "spec": export_spec(deploy_config, request.exporter or None),
        "toolchain": request.toolchain,
    }


def _export(request: Request, deploy_config: Any, folder: Path) -> dict[str, object]:
    from posedeploy.apis.exporting import check_fit, export_model

    model_config = load_model_config(request.model_config)
    check_fit(deploy_config, model_config)
    model = _build(request.model_config, request.checkpoint)
    what = (model, deploy_config, model_config, request.checkpoint, folder)
    done = export_model(*what, exporter=request.exporter or None)
    facts = asdict(done)
    return {name: facts[name] for name in ("exporter", "opset", "ir_version", "nodes", "seconds")}


@cache
def _build(model_config: str, checkpoint: str) -> Any:
    from posedeploy.zoo.build import build_model

    return build_model(load_model_config(model_config), Path(checkpoint))


def _deploy(request: Request, exported: Path, folder: Path) -> dict[str, object]:
    from posedeploy.apis.deploying import convert_exported
    from posedeploy.apis.exporting import read_exported

    sdk = folder / "sdk"
    sdk.mkdir()
    configs = load_deploy_config(request.deploy_config), load_model_config(request.model_config)
    done = convert_exported(read_exported(exported), *configs, sdk)
    return {"seconds": done.convert_seconds}
