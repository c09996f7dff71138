"""Checkpoints made here, without training and without a network, cached by what went into them.

The files are real `.pth` checkpoints in MMEngine's layout and are read by the same code as a
user's own.  A file that is there already is found without importing torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import filelock

from posedeploy.config import ModelConfig, load_model_config

from .table import ModelRow, config_path

CACHE_VARIABLE = "POSEDEPLOY_CACHE"
_LIBRARIES = ("mmpose", "numpy", "opencv-python-headless", "torch")
# The modules whose source decides the weights.
_RECIPE = (
    *("build", "calibration", "conditioning", "detection"),
    *("figures", "layers", "pictures", "style", "weights"),
)
_LOCK_SECONDS = 600.0  # the slowest model takes about half a minute


def default_cache_dir() -> Path:
    """`$POSEDEPLOY_CACHE`, or else `posedeploy` in the user's cache folder (XDG's rule)."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posedeploy"


def calibrated_checkpoint(row: ModelRow, cache_dir: Path, seed: int = 0) -> Path:
    """The checkpoint of a model in the zoo; made on first use. See `checkpoint_for`."""
    return checkpoint_for(load_model_config(config_path(row)), cache_dir, row.name, seed)


def checkpoint_for(
    model_config: ModelConfig, cache_dir: Path, name: str = "", seed: int = 0
) -> Path:
    """A checkpoint with calibrated weights for any supported config; made on first use.

    Args:
        model_config: The model's config.
        cache_dir: Where checkpoints are kept, in its folder `weights`.
        name: What the file's name begins with; the config's stem by default.
        seed: Decides the weights.

    Returns:
        The file. Its name carries a hash of the recipe, the config, the libraries and the seed.
        Bit-identical whenever it is made on one machine, equal to rounding on others.
    """
    key = _key(model_config, seed)
    path = cache_dir / "weights" / f"{name or model_config.path.stem}-{key[:16]}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            if not path.is_file():
                _write(path, _make(model_config, seed))
    return path


def _make(model_config: ModelConfig, seed: int) -> dict[str, Any]:
    import torch

    from .build import build_model
    from .calibration import calibrate

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the few parameters that keep mmpose's own initialisation
        model = build_model(model_config, None)
    calibrate(model, model_config, seed)
    meta = {
        "dataset_meta": model.dataset_meta,
        "posedeploy": {"weights": "calibrated", "seed": seed, "family": model_config.family},
    }
    return {"meta": meta, "state_dict": model.state_dict()}


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all; torch puts the file's own name inside, so the name is kept."""
    import torch

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        written = Path(folder) / path.name
        torch.save(content, written)
        written.replace(path)


def _key(model_config: ModelConfig, seed: int) -> str:
    config = model_config.config.to_dict()
    facts = {
        "config": {name: config.get(name) for name in ("model", "codec", "test_dataloader")},
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "recipe": _recipe_hash(),
        "seed": seed,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # OpenCV goes by several names
        return ""


@functools.cache
def _recipe_hash() -> str:
    sources = (Path(__file__).with_name(f"{name}.py").read_bytes() for name in _RECIPE)
    return hashlib.sha256(b"\0".join(sources)).hexdigest()
