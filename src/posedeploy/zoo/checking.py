"""What can be known of a model before it is built: its types are registered, its names fit."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from posedeploy.compat import install, without_missing_scopes
from posedeploy.config import ModelConfig
from posedeploy.config.files import first_line
from posedeploy.config.structure import COUNTS, pose_head
from posedeploy.errors import BadInputError, PoseDeployError, UnavailableError, did_you_mean
from posedeploy.sdk.fields import Node
from posedeploy.sdk.meta import dataset_meta
from posedeploy.sdk.writer import compact_dataset_meta

CHANNELS = 3  # of an image, as the SDK loads it
_CUSTOM = "A type of your own is registered by custom_imports = dict(imports=['package.module'])."
# Part of a model -> the registry of mmpose that must have its type
_PARTS: Mapping[str, str] = {
    "backbone": "MODELS", "data_preprocessor": "MODELS", "head": "MODELS", "neck": "MODELS",
    "": "MODELS",
}  # fmt: skip
_TOP_DOWN: Mapping[str, bool] = {
    "BottomupPoseEstimator": False, "TopdownPoseEstimator": True
}  # fmt: skip
_SHARED = ("input_size", "simcc_split_ratio")  # fields that a head and its codec have
# Package -> command that installs it, where that isn't pip by the name of its distribution
_INSTALLS: Mapping[str, str] = {"mmpretrain": "posedeploy setup"}
_ANY = ("MODELS", "KEYPOINT_CODECS", "TASK_UTILS", "BATCH_AUGMENTS")
_UNUSED = {"init_cfg", "pretrained", "train_cfg", "test_cfg"}  # fields that nothing is built of


def check_model(model_config: ModelConfig) -> None:
    """Refuse what cannot be built, or would be built for nothing.

    Raises:
        BadInputError: A type of the model, its codecs or its test pipeline is not registered, its
            images have other than three channels, or the head and its codec differ.
        UnavailableError: A type is of a package that is not installed.
    """
    install()
    import mmpose.codecs
    import mmpose.datasets.transforms
    import mmpose.models  # noqa: F401  fills the registries

    path, model = model_config.path, without_missing_scopes(model_config.config["model"])
    for part, registry in _PARTS.items():
        node = model.get(part) if part else model
        if node:
            where = f"model.{part}.type" if part else "model.type"
            check_type(path, where, node.get("type", "PoseDataPreprocessor"), registry)
    head = pose_head(model)
    check_type(path, "model.head.type", head.get("type"), "MODELS")
    codecs = head.get("decoder") or []
    for codec in codecs if isinstance(codecs, list | tuple) else [codecs]:
        check_type(path, "model.head.decoder.type", codec.get("type"), "KEYPOINT_CODECS")
    for i, step in enumerate(model_config.test_pipeline):
        where = f"test_dataloader.dataset.pipeline[{i}].type"
        check_type(path, where, step["type"], "TRANSFORMS")
    _check_together(model_config, head)
    channels = model["backbone"].get("in_channels", CHANNELS)
    if channels != CHANNELS:
        raise BadInputError(
            f"{path}: model.backbone.in_channels", repr(channels),
            f"{CHANNELS}: an SDK model loads images of {CHANNELS} channels",
            "Put a layer before the backbone that takes 3 channels (a gray image has three equal "
            "ones), or train a model of 3 channels.",
        )  # fmt: skip


def _check_together(model_config: ModelConfig, head: Mapping[str, Any]) -> None:
    """What mmpose would take as it is, and find other keypoints than the model was trained for."""
    top_down, path = model_config.head_kind.top_down, model_config.path
    if _TOP_DOWN.get(model_config.estimator, top_down) != top_down:
        fitting = next(name for name, value in _TOP_DOWN.items() if value == top_down)
        raise BadInputError(
            f"{path}: model.type", f"{model_config.estimator}, with a {model_config.head}",
            fitting, "Correct the type.",
        )  # fmt: skip
    for name in _SHARED:
        own, codecs = head.get(name), model_config.codec.get(name)
        if own is not None and codecs is not None and _plain(own) != _plain(codecs):
            raise BadInputError(
                f"{path}: model.head.{name}", repr(own), f"{codecs!r}, as its decoder has it",
                "Correct one of the two.",
            )  # fmt: skip


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value


def check_type(path: Path, where: str, name: Any, registry: str) -> None:
    """Raise BadInputError for a type that a registry of mmpose does not have."""
    if _registered(name, registry):
        return
    raise _unregistered(f"{path}: {where}", name, registry)


def _unregistered(subject: str, name: Any, registry: str) -> PoseDeployError:
    from mmengine.config.utils import MODULE2PACKAGE

    package = str(name).partition(".")[0]
    distribution = {**MODULE2PACKAGE, "mmpretrain": "mmpretrain"}.get(package)
    if package != str(name) and distribution and (reason := _why_not_importable(package)):
        command = _INSTALLS.get(package, f"python -m pip install {distribution}")
        return UnavailableError(
            subject, f"{name!r}, and {reason}",
            "the package that has it", f"Install it: {command}",
        )  # fmt: skip
    return BadInputError(
        subject, f"{name!r}, which is not registered", f"a type in mmpose's registry {registry}",
        f"{did_you_mean(str(name), _names(registry))} {_CUSTOM}",
    )  # fmt: skip


def _why_not_importable(package: str) -> str:
    if importlib.util.find_spec(package) is None:
        return f"no package '{package}' in this environment"
    try:
        importlib.import_module(package)
    except Exception as error:  # noqa: BLE001  the package's own code
        return f"the package '{package}', which does not import: {first_line(error)}"
    return ""


def _registered(name: Any, *registries: str) -> bool:
    from mmpose import registry

    if not isinstance(name, str) or not name:
        return False
    for word in registries:
        try:
            if getattr(registry, word).get(name) is not None:
                return True
        except Exception:  # noqa: BLE001, S112  code of the package, as its check of versions
            continue
    return False


def _names(word: str) -> list[str]:
    from mmpose import registry

    names, node = [], getattr(registry, word)
    while node is not None:
        names += node.module_dict
        node = node.parent
    return names


def build_error(model_config: ModelConfig, what: str, error: Exception) -> PoseDeployError:
    """The error for a person where code of mmpose's refuses a config's fields.

    Args:
        model_config: The config.
        what: The part that is built.
        error: What was raised.
    """
    if isinstance(error, PoseDeployError):
        return error
    path = model_config.path
    model = without_missing_scopes(model_config.config["model"])
    for where, name in _types(model, "model"):
        if not _registered(name, *_ANY):
            return _unregistered(f"{path}: {where}", name, "MODELS")
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" (in {frame.tb_frame.f_code.co_qualname})" if frame is not None else ""
    return BadInputError(
        f"{path}: {what}", f"fields with which mmpose stops: {first_line(error)}{place}",
        f"a {what} that mmpose can run", "Correct that field in the model config.",
    )  # fmt: skip


def _types(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """All types in a part of a config, outermost first, with where they are."""
    if isinstance(node, dict):
        if "type" in node:
            yield f"{where}.type", node["type"]
        for key, child in node.items():
            if key not in _UNUSED:
                yield from _types(child, f"{where}.{key}")
    elif isinstance(node, list | tuple):
        for i, child in enumerate(node):
            yield from _types(child, f"{where}[{i}]")


def check_keypoints(model_config: ModelConfig, meta: Mapping[str, Any], source: str) -> None:
    """Refuse names, links and colors that do not fit each other, or not the head.

    Args:
        model_config: The config.
        meta: In the form of mmpose's `parse_pose_metainfo`.
        source: Where it is from, for messages.

    Raises:
        BadInputError: They do not fit.
    """
    names = readable_meta(meta, source).keypoint_names
    count = model_config.keypoints
    if count is not None and count != len(names):
        field = next(name for name in COUNTS if name in model_config.config["model"]["head"])
        raise BadInputError(
            f"{model_config.path}: model.head.{field}", f"a head of {count} keypoints, and "
            f"{len(names)} names of keypoints in {source}", "as many keypoints as names",
            "Give the data set that the model was trained on as test_dataloader.dataset.metainfo, "
            "or correct the head.",
        )  # fmt: skip


def readable_meta(meta: Mapping[str, Any], source: str) -> Any:
    """What clients will read of a parsed metainfo, as `sdk.meta` has it.

    Raises:
        BadInputError: They could not.
    """
    try:
        compact = compact_dataset_meta(meta)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise BadInputError(
            source, f"a dataset_meta that cannot be read: {first_line(error)}",
            "one as mmpose's parse_pose_metainfo makes it", "Correct it.",
        ) from error  # fmt: skip
    return dataset_meta(Node({"posedeploy": {"dataset_meta": compact}}, source))
