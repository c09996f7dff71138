"""An MMPose config and a checkpoint → a PyTorch model, on the CPU, in evaluation mode.

Like `mmpose.apis.init_model`, but it downloads no pretrained weights, reads checkpoints without
running code in them, and refuses those of another model.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from posedeploy.compat import StandInUsedError, install, without_missing_scopes
from posedeploy.config import ModelConfig
from posedeploy.config.metainfo import WHERE, config_metainfo, find_metainfo, read_metainfo
from posedeploy.errors import BadInputError
from posedeploy.heads import load
from posedeploy.zoo.checking import (
    CHANNELS,
    build_error,
    check_keypoints,
    check_model,
    check_type,
    readable_meta,
)
from posedeploy.zoo.checkpoints import Checkpoint, apply_checkpoint, load_checkpoint

GENERATED = "posedeploy"  # in the `meta` of a checkpoint whose weights were made


def build_model(model_config: ModelConfig, checkpoint: Path | None) -> torch.nn.Module:
    """Build an mmpose pose estimator; without a checkpoint, with fresh random weights.

    Returns:
        The estimator on the CPU, float32, in evaluation mode, SyncBN reverted, flip test off.
        `cfg` is the whole MMEngine config; `dataset_meta` is from the checkpoint, or from the
        config if the checkpoint has none.

    Raises:
        BadInputError: The checkpoint cannot be read or belongs to another model, mmpose cannot
            build the config's, or its data set has another number of keypoints.
    """
    check_model(model_config)
    loaded = load_checkpoint(checkpoint) if checkpoint is not None else None
    meta = dataset_meta(model_config, loaded)
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope("mmpose")
    config = _without_initialization(without_missing_scopes(model_config.config["model"]))
    config = _with_found_files(config, model_config.path)
    config["train_cfg"] = None
    config["test_cfg"] = type(config)(model_config.test_cfg)
    try:
        with _no_metainfo_warning():
            model: torch.nn.Module = revert_sync_batchnorm(MODELS.build(config))
    except StandInUsedError:
        raise
    except Exception as error:  # constructors of mmpose's and the user's, with the config's fields
        raise build_error(model_config, "model", error) from error
    if loaded is not None:
        apply_checkpoint(model, loaded, str(model_config.path))
    vars(model).update(cfg=model_config.config, dataset_meta=meta)
    if standing_in := model_config.head_kind.predict:
        head: Any = model.head
        head.predict = functools.partial(load(standing_in), head)
    return model.eval()


def check_forward(model: Any, model_config: ModelConfig) -> None:
    """Run the network once on an empty image, before anything is done that takes long.

    Raises:
        BadInputError: mmpose stops with an error: the config's fields do not fit each other.
    """
    width, height = model_config.input_size
    try:
        with torch.no_grad():
            features = model.extract_feat(torch.zeros(1, CHANNELS, height, width))
            # CID's second module stops where there are no people, as in an empty image
            first = getattr(model.head, "iia_module", None)
            first(features[-1]) if first else model.head.forward(features)
    except StandInUsedError:
        raise
    except Exception as error:  # code of mmpose's and the user's, with the config's fields
        raise build_error(model_config, "network", error) from error


@contextlib.contextmanager
def _no_metainfo_warning() -> Iterator[None]:
    """Silences the warning that a dataset file is taken from mmpose's wheel."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The metainfo config file", category=UserWarning)
        yield


def _without_initialization(node: Any) -> Any:
    """A config without the fields that initialize weights before training."""
    if isinstance(node, dict):
        fields = {k: v for k, v in node.items() if k not in {"init_cfg", "pretrained"}}
        return type(node)({key: _without_initialization(value) for key, value in fields.items()})
    if isinstance(node, list | tuple):
        return type(node)(map(_without_initialization, node))
    return node


def _with_found_files(node: Any, path: Path) -> Any:
    """A config of a model in which relative names of metainfo files, as losses have, are paths."""
    if isinstance(node, dict):
        fields = {
            k: str(find_metainfo(path, v, f"{path}: {k}"))
            if k == "metainfo" and isinstance(v, str) else _with_found_files(v, path)
            for k, v in node.items()
        }  # fmt: skip
        return type(node)(fields)
    if isinstance(node, list | tuple):
        return type(node)(_with_found_files(item, path) for item in node)
    return node


def dataset_meta(model_config: ModelConfig, loaded: Checkpoint | None = None) -> Mapping[str, Any]:
    """Joint names, skeleton and sigmas, in the form of mmpose's `parse_pose_metainfo`.

    They are those of the checkpoint, or of the config's data set if it has none, or of another
    number than the model finds. For generated weights the config's must be there as well: whether
    they were cached makes no difference.

    Raises:
        BadInputError: There are none, they cannot be read, or they are not as many as the head's.
    """
    own: Any = loaded.meta.get("dataset_meta") if loaded is not None else None
    if loaded is not None and own and GENERATED not in loaded.meta:
        names = readable_meta(own, f"checkpoint {loaded.path}: dataset_meta").keypoint_names
        if model_config.keypoints in {None, len(names)}:
            return own  # type: ignore[no-any-return]
    parsed, source = _config_meta(model_config)
    check_keypoints(model_config, parsed, source)
    return own if loaded is not None and GENERATED in loaded.meta else parsed


def _config_meta(model_config: ModelConfig) -> tuple[Mapping[str, Any], str]:
    """The parsed metainfo of the config's data set, and where it is from, for messages."""
    install()
    import mmpose.datasets  # noqa: F401  fills the registry
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.registry import DATASETS

    path, config = model_config.path, model_config.config
    source = f"{path}: {WHERE}"
    metainfo = config_metainfo(path, config)
    if metainfo is None:
        dataset = config["test_dataloader"]["dataset"]
        name = dataset.get("type")
        check_type(path, "test_dataloader.dataset.type", name, "DATASETS")
        source = f"the data set {name}"
        own = _class_metainfo(path, DATASETS.get(name), dataset.get("subset", ""))
        if not own:
            raise BadInputError(
                f"{path}: {WHERE}", f"nothing, and {source} has no keypoints of its own",
                "the names of the model's keypoints",
                "Add metainfo=dict(from_file='FILE.py') to it, as mmpose's own configs have.",
            )  # fmt: skip
        metainfo = read_metainfo(path, own, f"{path}: METAINFO of {source}")
    with _no_metainfo_warning():
        return parse_pose_metainfo(metainfo), source


def _class_metainfo(path: Path, dataset: Any, subset: Any) -> Any:
    """`METAINFO` of a data set's class; of DeepFashion's, once the subset is chosen."""
    if choose := getattr(dataset, "_check_subset_and_metainfo", None):
        try:
            choose(subset)
        except ValueError as error:
            raise BadInputError(
                f"{path}: test_dataloader.dataset.subset", repr(subset),
                "a subset of the data set", f"Correct the name. mmpose says: {error}",
            ) from error  # fmt: skip
    return getattr(dataset, "METAINFO", None)
