"""MMPose configs and checkpoints, as the reference reads them to run mmpose itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poseconform.isolation.artifacts import tree_sha256
from posedeploy import compat
from posedeploy.config import load_model_config

if TYPE_CHECKING:
    from posedeploy.zoo.checkpoints import Checkpoint


@cache
def config_text(path: str) -> str:
    """A model config with everything it inherits, as text."""
    return str(load_model_config(path).config.pretty_text)


def read_model_config(path: str) -> Any:
    """An MMEngine config that mmpose can build, without the data set of training.

    mmpose's `init_model` would read the names of keypoints from that one: from a file that it
    looks for in the current folder alone, and for DeepFashion from a class that has none until the
    data set is built. `dataset_meta` has those that the checkpoint or the data set of tests names.
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


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint's state dict and metadata; nothing in the file is executed."""
    from posedeploy.zoo.checkpoints import load_checkpoint  # imports torch

    return load_checkpoint(path)


def read_state_dict(path: Path) -> Any:
    """A checkpoint's state dict; nothing in the file is executed."""
    return read_checkpoint(path).state_dict


def write_stressed(
    model: Any, run: Callable[[], object], checkpoint: Path, target: float, file: Path
) -> None:
    """Stress a model, in place, and write its checkpoint (`posedeploy.synthetic.stressed`)."""
    from posedeploy.synthetic import stressed  # imports torch

    stressed.write_stressed(model, run, checkpoint, target, file)


def stressing_sha256() -> str:
    """A hash of the code that `write_stressed` runs."""
    return tree_sha256(Path(compat.__file__).parents[1] / "synthetic")


def dataset_meta(config_path: str, checkpoint: Checkpoint) -> Mapping[str, Any]:
    """Names of keypoints, skeleton and sigmas: the checkpoint's, or else the config's.

    DEKR's net that scores people reads the skeleton.
    """
    from posedeploy.zoo import build  # imports torch

    return build.dataset_meta(load_model_config(config_path), checkpoint)
