"""MMPose configs and checkpoints, as the reference reads them to run mmpose itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from posedeploy import compat
from posedeploy.config import load_model_config


@cache
def config_text(path: str) -> str:
    """A model config with everything it inherits, as text."""
    return str(load_model_config(path).config.pretty_text)


def read_model_config(path: str) -> Any:
    """An MMEngine config that mmpose can build, without the data set of training.

    mmpose's `init_model` would read the names of keypoints from that one: from a file that it
    looks for in the current folder alone, and for DeepFashion from a class that has none until the
    data set is built. Names decide nothing without a flip test.
    """
    compat.install()  # mmpose 1.3.2 imports on a current stack only after it
    config = load_model_config(path).config
    config.model = compat.without_missing_scopes(config.model)
    config.pop("train_dataloader", None)
    return config


def read_codec(path: str) -> Mapping[str, Any]:
    """The codec that decodes a model's outputs."""
    compat.install()
    import mmpose.codecs  # noqa: F401  fills the registry

    return load_model_config(path).codec


def read_state_dict(checkpoint: Path) -> Any:
    """A checkpoint's state dict; nothing in the file is executed."""
    from posedeploy.zoo.checkpoints import load_checkpoint  # imports torch

    return load_checkpoint(checkpoint).state_dict
