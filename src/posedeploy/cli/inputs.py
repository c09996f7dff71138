"""What several commands read: SDK model folders, and images of so many pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from posedeploy.cli.arguments import check_name, parse_device
from posedeploy.cli.filekinds import is_image_or_video
from posedeploy.errors import BadInputError, did_you_mean
from posedeploy.runtime import Device, backend_names, backend_row
from posedeploy.sdk.archive import MARK as _MARK
from posedeploy.sdk.archive import locate
from posedeploy.sdk.bare_detectors import is_bare
from posedeploy.sdk.folder import TASKS, read_folder
from posedeploy.sdk.images import MOST_PIXELS
from posedeploy.zoo.table import MODELS

MaxPixelsOption = Annotated[
    int, typer.Option(min=1, max=MOST_PIXELS, help="Leave out images and frames of more pixels.")
]


def check_model_folder(path: Path) -> Path:
    """The SDK model folder, given it or a file in it; a zip of one is returned as it is.

    Raises:
        BadInputError: There is none, or its name is not UTF-8. If a checkpoint is there, the
            message says how to convert it.
    """
    folder, unpacked = locate(path)
    check_name(f"model folder {path}", path.parent if unpacked else folder)
    if unpacked:
        return path
    if path.exists() and (folder / _MARK).is_file():
        return folder
    next_step = did_you_mean(
        path.name,
        _model_folders(path.parent),
        "Check the path; `posedeploy convert` writes such folders.",
    )
    if any(row.name == str(path) for row in MODELS):
        next_step = (
            f"That is a model: convert it first: posedeploy convert DEPLOY_CFG {path} CHECKPOINT "
            "IMAGE --work-dir DIR"
        )
    elif path.is_file() and is_image_or_video(path):
        next_step = "The order is MODEL_DIR IMAGE."
    if not path.exists():
        found = "no such folder"
    elif path.is_dir():
        names = sorted(p.name for p in path.iterdir())
        inside = f" ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})" if names else ""
        found = f"a folder without {_MARK}{inside}"
    else:
        found = f"a file, in a folder without {_MARK}"
    checkpoints = [path] if path.is_file() else sorted(path.glob("*.pth"))
    if checkpoints and checkpoints[-1].suffix == ".pth":
        next_step = (
            f"Convert the checkpoint: posedeploy convert DEPLOY_CFG MODEL_CFG {checkpoints[-1]} "
            "IMAGE --work-dir DIR"
        )
    raise BadInputError(
        f"model folder {path}", found, f"an SDK model folder, with {_MARK} in it", next_step
    )


def _model_folders(folder: Path) -> list[str]:
    """Names of the SDK model folders in a folder that may be missing."""
    return [path.parent.name for path in folder.glob(f"*/{_MARK}")]


def device_for(folder: Path, text: str | None) -> Device:
    """The device that the text names; None takes the first that the folder's backend has.

    `folder` is an SDK model folder of a pose model or a detector, or a detector's `.onnx` alone.
    """
    if text is not None:
        return parse_device(text)
    if is_bare(folder):
        return Device("cpu")
    backend = read_folder(folder, TASKS).model.backend
    return Device(backend_row(backend).devices[0] if backend in backend_names() else "cpu")
