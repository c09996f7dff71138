"""Synthetic checkpoints, cached by a hash of everything that decides them.

The files are `.pth` checkpoints in MMEngine's layout, read by the same code as a user's own. A
cached file is found without importing torch.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from posedeploy.config import ModelConfig, load_model_config
from posedeploy.config.metainfo import config_metainfo
from posedeploy.errors import BadInputError
from posedeploy.paths import file_sha256, whole_file
from posedeploy.synthetic.drawn import WITHOUT_PAIRS
from posedeploy.synthetic.fitting import PLANS, plan_key, why_not
from posedeploy.synthetic.trained import trained_content, trained_file, weights_folder
from posedeploy.zoo.pickled_arrays import plain
from posedeploy.zoo.table import ModelRow, config_path

if TYPE_CHECKING:
    from posedeploy.synthetic.fitting.plan import Plan

_LIBRARIES = ("mmpose", "numpy", "opencv-python-headless", "torch")
_RECIPE = ("../zoo/build", "calibration", "conditioning", "figures", "images", "weights")
_FITTING = ("convolution", "fit", "grid", "plan", "randomness", "ridge", "targets", "workbench")
# Kind of weights -> the modules that decide it, besides a fit's plan and the stored file.
KINDS: Mapping[str, tuple[str, ...]] = {
    "calibrated": _RECIPE,
    "fitted": (*_RECIPE, "drawn", "samples", *(f"fitting/{name}" for name in _FITTING)),
    "trained": ("conditioning", "trained"),
}
_LOCK_SECONDS = 1800.0  # the slowest fit takes about four minutes on an idle core

Make = Callable[[ModelConfig, int, str], dict[str, Any]]  # config, seed, kind -> checkpoint


def calibrated_checkpoint(row: ModelRow, cache_dir: Path, seed: int = 0) -> Path:
    """The calibrated checkpoint of a model of the zoo. See `checkpoint_for`."""
    return checkpoint_for(load_model_config(config_path(row)), cache_dir, row.name, seed)


def checkpoint_content(
    model_config: ModelConfig, seed: int, kind: str, plan: Plan | None = None
) -> dict[str, Any]:
    """The content of a checkpoint of a kind of `KINDS`, computed: `meta` and `state_dict`.

    Without a plan, weights are fitted by the plan of the config's head and backbone.
    """
    if kind == "trained" and (stored := trained_file(model_config)):
        return trained_content(stored)
    import torch

    from posedeploy.synthetic.calibration import calibrate
    from posedeploy.zoo.build import GENERATED, build_model, check_forward

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # for the few parameters that keep mmpose's own initialization
        model: Any = build_model(model_config, None)
    check_forward(model, model_config)
    meta = {
        "dataset_meta": plain(model.dataset_meta),
        GENERATED: {"weights": kind, "seed": seed, "family": model_config.family},
    }
    if kind == "fitted":
        from posedeploy.synthetic.fitting.fit import fit

        fit(model, model_config, seed, plan)
        meta["dataset_meta"].update(WITHOUT_PAIRS)
    else:
        calibrate(model, model_config, seed)
    return {"meta": meta, "state_dict": model.state_dict()}


def checkpoint_for(
    model_config: ModelConfig,
    cache_dir: Path,
    name: str = "",
    seed: int = 0,
    kind: str = "calibrated",
    *,
    make: Make = checkpoint_content,
) -> Path:
    """A checkpoint with synthetic weights, in the cache's folder `weights`; made on first use.

    Its name is the given one (the config's stem by default) and a hash of the recipe, the config,
    the libraries and the seed. It is bit-identical whenever it is made on one machine, equal to
    rounding on others. With 'calibrated' weights, for any supported config, outputs depend on the
    image and locate nothing; with 'trained' and 'fitted' ones keypoints are located on the drawn
    data set. 'trained' ones are read from the folder of stored weights, whatever the seed.

    Raises:
        BadInputError: No such kind, or no weights of this kind for this model.
    """
    _check_kind(model_config, kind)
    key = _key(model_config, seed, kind)
    path = cache_dir / "weights" / f"{name or model_config.path.stem}-{key[:16]}.pth"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
            if not path.is_file():
                import torch

                content = make(model_config, seed, kind)
                with whole_file(path) as temporary:
                    torch.save(content, temporary)
    return path


def _check_kind(model_config: ModelConfig, kind: str) -> None:
    if kind not in KINDS:
        raise BadInputError(f"weights {kind!r}", "no such kind", " or ".join(KINDS), "Check it.")
    there = (*locating_kinds(model_config), "calibrated")
    if kind in there:
        return
    stored = ", ".join(sorted(path.stem for path in weights_folder().glob("*.pth"))) or "none"
    wrong = {
        "trained": (f"no file in {weights_folder()}", f"a model with stored weights: {stored}"),
        "fitted": (why_not(model_config), "a head and backbone of posedeploy.synthetic.fitting"),
    }
    raise BadInputError(
        f"{kind} weights for {model_config.path.name}", *wrong[kind],
        f"Take {there[0]} weights, or a checkpoint of your own.",
    )  # fmt: skip


def locating_kinds(model_config: ModelConfig) -> tuple[str, ...]:
    """The kinds of weights that there are for a config and that find drawn figures."""
    there = {"trained": trained_file(model_config), "fitted": not why_not(model_config)}
    return tuple(kind for kind, found in there.items() if found)


def _key(model_config: ModelConfig, seed: int, kind: str) -> str:
    config = model_config.config.to_dict()
    libraries = dict.fromkeys(_LIBRARIES, "")
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # OpenCV's names differ
            libraries[name] = importlib.metadata.version(name)
    facts = {
        "metainfo": config_metainfo(model_config.path, model_config.config),
        "config": {name: config.get(name) for name in ("model", "codec", "test_dataloader")},
        "libraries": libraries,
        "recipe": recipe_hash(recipe_modules(model_config, kind)),
        "seed": seed,
    }
    if kind == "trained" and (stored := trained_file(model_config)):
        facts |= {"stored": file_sha256(stored), "seed": 0}
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def recipe_modules(model_config: ModelConfig, kind: str) -> tuple[str, ...]:
    """Names of the modules whose source decides a checkpoint, relative to this package."""
    plan = (f"fitting/{PLANS[plan_key(model_config)]}",) if kind == "fitted" else ()
    return (*KINDS[kind], *plan)


@functools.cache
def recipe_hash(modules: tuple[str, ...], folder: Path = Path(__file__).parent) -> str:
    """Hash of the sources of modules in a folder."""
    sources = (folder.joinpath(f"{name}.py").read_bytes() for name in modules)
    return hashlib.sha256(b"\0".join(sources)).hexdigest()
