"""Names of the zoo where a path is taken, and the checkpoint that goes with them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from posedeploy.config import ORDER, ModelConfig, is_deploy_config_name
from posedeploy.errors import BadInputError, did_you_mean, names_beside
from posedeploy.runtime import model_suffixes
from posedeploy.sdk.folder import DEPLOY
from posedeploy.zoo.table import MODELS, config_path, model_row, shipped_config, shipped_names

# Words in place of a checkpoint's path, for generated weights.
CALIBRATED, FITTED, TRAINED = "calibrated", "fitted", "trained"
LOCATING = (TRAINED, FITTED)  # find the joints of drawn figures; the better ones first
GENERATED = frozenset({CALIBRATED, *LOCATING})
PUBLISHED = "zoo"  # downloaded
_FOR_PEOPLE = "To find people, give a .pth file, or 'zoo'."
_NOTES = {
    CALIBRATED: "Calibrated weights exercise every operation and find nobody: what was compared "
    f"is the arithmetic. {_FOR_PEOPLE}",
    FITTED: "Fitted weights find the joints of drawn figures (posedeploy.synthetic.drawn), and "
    f"nothing in a photograph. {_FOR_PEOPLE}",
    TRAINED: "These weights were trained on drawn figures (posedeploy.synthetic.drawn), and find "
    f"nothing in a photograph. {_FOR_PEOPLE}",
}
_CONVERTED = (
    "a file that a backend runs",
    "Give the checkpoint that it was made of: conversion starts there.",
)  # fmt: skip
# ---- modify this table to add what is taken for a checkpoint -------------------------------
# suffix -> (what it is, next step)
_NO_CHECKPOINTS = {
    **dict.fromkeys(model_suffixes() - {".pt"}, _CONVERTED),
    **dict.fromkeys((".jpg", ".jpeg", ".png"), ("an image", ORDER)),
    ".py": ("a config", ORDER),
    ".safetensors": (
        "a safetensors file", "Save its tensors with torch.save, as mmengine's checkpoints are."
    ),
}  # fmt: skip
# --------------------------------------------------------------------------------------------
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)")  # a Windows drive has one letter


def resolve_model_config(model_cfg: str | Path) -> Path:
    """The path of a model config: a path, a zoo name or a file in mmpose's wheel.

    That is named by its file name alone, or by a path of mmpose's repository: 'configs/…/NAME.py',
    after any folder.

    BadInputError for anything else.
    """
    path, name = Path(model_cfg), str(model_cfg)
    if path.is_file() and path.suffix == ".py":
        return path
    if is_zoo_name(name):
        return config_path(model_row(name))
    if shipped := shipped_config(name):
        return shipped
    if path.is_file():
        raise BadInputError(
            f"model config {model_cfg}", f"a {path.suffix or 'suffixless'} file",
            "a model config (.py), or the name of one", ORDER,
        )  # fmt: skip
    raise BadInputError(
        f"model config {model_cfg}",
        "a folder" if path.is_dir() else "no such file and no such name",
        "a path, the name of a config that mmpose ships, or one that `posedeploy zoo list` shows",
        _advice_on_config(path, name),
    )  # fmt: skip


def _advice_on_config(path: Path, name: str) -> str:
    """The next step for what is no model config."""
    if path.is_dir() and (files := sorted(path.glob("*.py"))):
        return f"Name the file in it: {files[0]}"
    if is_deploy_config_name(name):
        return "That is a deploy config: it comes first, the model config after it."
    if shipped_config(path.name):
        return f"For the config of this name that mmpose ships, write {path.name}"
    shipped = shipped_names() if path.suffix == ".py" else []
    return did_you_mean(path.name, [*(row.name for row in MODELS), *shipped])


def is_zoo_name(model_cfg: str | Path) -> bool:
    """True if it is the name of a model in the zoo."""
    return any(row.name == str(model_cfg) for row in MODELS)


def note_on(checkpoint: str | Path | None) -> str:
    """What a person should know of generated weights; '' for other checkpoints."""
    return _NOTES.get(str(CALIBRATED if checkpoint is None else checkpoint), "")


def default_weights(model_config: ModelConfig, precision: str) -> str:
    """The word for the weights that are taken if none are named.

    'trained' for the models that have them, else 'calibrated', which any model can have.
    Quantized keypoints are worth comparing only where something is found: 'fitted' for int8, for
    the models that can have them.
    """
    from posedeploy.synthetic.weights import locating_kinds

    kinds = locating_kinds(model_config)
    if TRAINED in kinds or (precision == "int8" and FITTED in kinds):
        return kinds[0]
    return CALIBRATED


def resolve_checkpoint(
    model_cfg: str | Path,
    checkpoint: str | Path | None,
    seed: int = 0,
    make: Callable[..., Path] | None = None,
) -> Path:
    """The checkpoint's path; generated weights are made for the config and cached.

    The checkpoint is the path or the URL of a `.pth` file; None or 'calibrated' for generated
    weights, 'trained' or 'fitted' for ones that locate the keypoints of drawn figures, or 'zoo'
    for the published checkpoint, downloaded once. `make` generates weights; None takes
    `posedeploy.synthetic.weights.checkpoint_for`.

    Raises:
        BadInputError: No such file, no weights can be fitted for this model, or none are
            published.
        UnavailableError: A checkpoint is not there and cannot be downloaded.
    """
    checkpoint = CALIBRATED if checkpoint is None else checkpoint
    if (kind := str(checkpoint)) in GENERATED:
        from posedeploy.config import load_model_config
        from posedeploy.paths import cache_dir
        from posedeploy.synthetic.weights import checkpoint_for

        config = load_model_config(resolve_model_config(model_cfg))
        name = str(model_cfg) if is_zoo_name(model_cfg) else ""
        return (make or checkpoint_for)(config, cache_dir(), name, seed, kind)
    if kind == PUBLISHED:
        return published_checkpoint(model_cfg)
    return checkpoint_file(checkpoint)


def checkpoint_file(checkpoint: str | Path, fetch: Callable[..., Path] | None = None) -> Path:
    """The checkpoint at a path or at a URL, downloaded once; `fetch` is `download.fetch_url`.

    Raises:
        BadInputError: No such file, or the server has none.
        UnavailableError: It cannot be downloaded.
    """
    if (url := _URL.match(str(checkpoint))) is not None:
        from posedeploy.zoo.download import fetch_url

        address = f"{url[1]}://{url[2]}"  # `Path` makes one slash of two
        with _download_bar(address.rpartition("/")[2]) as update:
            return (fetch or fetch_url)(address, on_progress=update)
    path = Path(checkpoint)
    if path.is_file():
        kind = _CONVERTED if _is_torchscript(path) else _NO_CHECKPOINTS.get(path.suffix.lower())
        if kind is not None:
            raise BadInputError(f"checkpoint {path}", kind[0], "a .pth file", kind[1])
        return path
    words = [*GENERATED, PUBLISHED, *names_beside(path)]
    raise BadInputError(
        f"checkpoint {checkpoint}",
        "a folder" if path.is_dir() else "no such file",
        f"a .pth file or its URL, '{CALIBRATED}', '{TRAINED}' or '{FITTED}' for weights that are "
        f"made, or '{PUBLISHED}' for the published ones",
        _in_folder(path) if path.is_dir() else
        did_you_mean(path.name, words, "Check the path."),
    )  # fmt: skip


def _in_folder(folder: Path) -> str:
    """The next step for a folder in place of a checkpoint: the newest one in it."""
    if (folder / DEPLOY).is_file():
        return f"It was converted before: posedeploy infer {folder} IMAGE"
    files = sorted(folder.glob("*.pth"), key=lambda path: path.stat().st_mtime)
    return f"Name the .pth file in it{f': {files[-1]}' if files else '.'}"


def _is_torchscript(path: Path) -> bool:
    """Whether a file is an archive of TorchScript, which has code and constants beside tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:  # an older checkpoint, or none: whoever loads it finds out
        return False


@contextmanager
def _download_bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on standard error, and what moves it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
    out = Console(stderr=True)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def published_checkpoint(model_cfg: str | Path, fetch: Callable[..., Path] | None = None) -> Path:
    """The published checkpoint of a zoo model, downloaded (with progress) unless it is there.

    BadInputError if none is published, UnavailableError if it cannot be downloaded.
    """
    from posedeploy.zoo.download import fetch_checkpoint

    if not is_zoo_name(model_cfg):
        raise BadInputError(
            f"checkpoint '{PUBLISHED}' for {model_cfg}", "a model that is not in the zoo",
            "a name in the zoo",
            "Give the checkpoint's path; `posedeploy zoo list` shows the names.",
        )  # fmt: skip
    with _download_bar(f"checkpoint of {model_cfg}") as update:
        return (fetch or fetch_checkpoint)(model_row(str(model_cfg)), on_progress=update)
