"""Checkpoints made here, without training and without a network, cached by what went into them.

The files are real `.pth` checkpoints in MMEngine's layout and are read by the same code as a
user's own.  A file that is there already is found without importing torch.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.errors import BadInputError
from posedeploy.paths import whole_file
from posedeploy.synthetic.drawn import WITHOUT_PAIRS
from posedeploy.synthetic.fitting import PLANS, plan_key, why_not
from posedeploy.zoo.table import ModelRow, config_path

_LIBRARIES = ("mmpose", "numpy", "opencv-python-headless", "torch")
# The modules whose source decides the weights.
_RECIPE = (
    *("../zoo/build", "calibration", "conditioning", "detection"),
    *("figures", "images", "layers", "style", "weights"),
)
# Kind of weights -> the modules that decide it beside `_RECIPE`; a fit's plan is one more.
_FITTING = (
    *("cells", "colors", "convolution", "csp", "fit", "grid", "plan", "randomness"),
    *("ridge", "samples", "targets", "vectors", "votes", "workbench"),
)
KINDS: Mapping[str, tuple[str, ...]] = {
    "calibrated": (),
    "fitted": ("drawn", *(f"fitting/{name}" for name in _FITTING)),
}
_LOCK_SECONDS = 1800.0  # the slowest fit takes about four minutes on a quiet core


def calibrated_checkpoint(row: ModelRow, cache_dir: Path, seed: int = 0) -> Path:
    """The checkpoint of a model in the zoo; made on first use. See `checkpoint_for`."""
    return checkpoint_for(load_model_config(config_path(row)), cache_dir, row.name, seed)


def checkpoint_for(
    model_config: ModelConfig,
    cache_dir: Path,
    name: str = "",
    seed: int = 0,
    kind: str = "calibrated",
) -> Path:
    """A checkpoint with weights that are made here; made on first use.

    Args:
        model_config: The model's config.
        cache_dir: Where checkpoints are kept, in its folder `weights`.
        name: What the file's name begins with; the config's stem by default.
        seed: Decides the weights.
        kind: 'calibrated', for any supported config: outputs that depend on the image, and
            locate nothing. 'fitted', where `fitting.can_fit` says so: keypoints are found on the
            drawn data set.

    Returns:
        The file. Its name carries a hash of the recipe, the config, the libraries and the seed.
        Bit-identical whenever it is made on one machine, equal to rounding on others.

    Raises:
        BadInputError: No such kind, or no fitted weights for this model.
    """
    _check_kind(model_config, kind)
    key = _key(model_config, seed, kind)
    path = cache_dir / "weights" / f"{name or model_config.path.stem}-{key[:16]}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            if not path.is_file():
                _write(path, _make(model_config, seed, kind))
    return path


def _check_kind(model_config: ModelConfig, kind: str) -> None:
    if kind not in KINDS:
        raise BadInputError(f"weights {kind!r}", "no such kind", " or ".join(KINDS), "Check it.")
    reason = why_not(model_config) if kind == "fitted" else ""
    if reason:
        raise BadInputError(
            f"fitted weights for {model_config.path.name}",
            reason,
            "a head and backbone of the table in posedeploy.synthetic.fitting",
            "Take calibrated weights, or a checkpoint of your own.",
        )


def _make(model_config: ModelConfig, seed: int, kind: str) -> dict[str, Any]:
    import torch

    from posedeploy.synthetic.calibration import calibrate
    from posedeploy.zoo.build import build_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the few parameters that keep mmpose's own initialization
        model: Any = build_model(model_config, None)
    meta = {
        "dataset_meta": model.dataset_meta,
        "posedeploy": {"weights": kind, "seed": seed, "family": model_config.family},
    }
    if kind == "fitted":
        from posedeploy.synthetic.fitting.fit import fit

        fit(model, model_config, seed)
        meta["dataset_meta"] = {**model.dataset_meta, **WITHOUT_PAIRS}
    else:
        calibrate(model, model_config, seed)
    return {"meta": meta, "state_dict": model.state_dict()}


def _write(path: Path, content: dict[str, Any]) -> None:
    import torch

    with whole_file(path) as temporary:
        torch.save(content, temporary)


def _key(model_config: ModelConfig, seed: int, kind: str) -> str:
    config = model_config.config.to_dict()
    facts = {
        "config": {name: config.get(name) for name in ("model", "codec", "test_dataloader")},
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "recipe": _recipe_hash(_modules(model_config, kind)),
        "seed": seed,
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:  # OpenCV goes by several names
        return ""


def _modules(model_config: ModelConfig, kind: str) -> tuple[str, ...]:
    plan = (f"fitting/{PLANS[plan_key(model_config)]}",) if kind == "fitted" else ()
    return (*_RECIPE, *KINDS[kind], *plan)


@functools.cache
def _recipe_hash(modules: tuple[str, ...]) -> str:
    sources = (Path(__file__).parent.joinpath(f"{name}.py").read_bytes() for name in modules)
    return hashlib.sha256(b"\0".join(sources)).hexdigest()
