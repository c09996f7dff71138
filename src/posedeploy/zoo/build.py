"""An MMPose config and a checkpoint → a PyTorch model, on the CPU, in evaluation mode.

Like `mmpose.apis.init_model`, but it downloads no pretrained weights, reads checkpoints without
running code in them, and refuses those of another model.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from posedeploy.compat import install, without_missing_scopes
from posedeploy.config import ModelConfig
from posedeploy.zoo.checkpoints import Checkpoint, apply_checkpoint, load_checkpoint


def build_model(model_config: ModelConfig, checkpoint: Path | None) -> torch.nn.Module:
    """Build an mmpose pose estimator; without a checkpoint, with fresh random weights.

    Returns:
        The estimator on the CPU, float32, in evaluation mode, SyncBN reverted, flip test off.
        `cfg` is the whole MMEngine config; `dataset_meta` is from the checkpoint, or from the
        config if the checkpoint has none.

    Raises:
        BadInputError: The checkpoint cannot be read or belongs to another model.
    """
    loaded = load_checkpoint(checkpoint) if checkpoint is not None else None
    install()
    import mmpose.models  # noqa: F401  fills the registry
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope("mmpose")
    config = _without_initialization(without_missing_scopes(model_config.config["model"]))
    config["train_cfg"] = None
    config["test_cfg"] = type(config)(model_config.test_cfg)
    with _no_metainfo_warning():
        model: torch.nn.Module = revert_sync_batchnorm(MODELS.build(config))
    if loaded is not None:
        apply_checkpoint(model, loaded, str(model_config.path))
    vars(model).update(cfg=model_config.config, dataset_meta=dataset_meta(model_config, loaded))
    return model.eval()


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


def dataset_meta(model_config: ModelConfig, loaded: Checkpoint | None = None) -> Mapping[str, Any]:
    """Joint names, skeleton and sigmas, in the form of mmpose's `parse_pose_metainfo`.

    They are those of the checkpoint, or of the config's data set if it has none.
    """
    if loaded is not None and loaded.meta.get("dataset_meta"):
        meta: Mapping[str, Any] = loaded.meta["dataset_meta"]
        return meta
    from mmpose.datasets.datasets.utils import parse_pose_metainfo
    from mmpose.registry import DATASETS

    dataset = model_config.config["test_dataloader"]["dataset"]
    metainfo = dataset.get("metainfo") or DATASETS.get(dataset["type"]).METAINFO
    with _no_metainfo_warning():
        parsed: Mapping[str, Any] = parse_pose_metainfo(metainfo)
    return parsed
