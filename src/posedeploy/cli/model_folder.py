"""The arguments MODEL_DIR and --device."""

from __future__ import annotations

from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.runtime import Device, backend_names, backend_row
from posedeploy.sdk.folder import read_folder

_MARK = "deploy.json"  # every SDK model folder has it
_CONVERT = "posedeploy convert DEPLOY_CFG MODEL_CFG {checkpoint} IMAGE --work-dir DIR"


def check_model_folder(path: Path) -> Path:
    """The SDK model folder, given it or a file in it.

    Raises:
        BadInputError: There is none. The message has the command that converts the checkpoint
            that is there instead.
    """
    folder = path if path.is_dir() else path.parent
    if path.exists() and (folder / _MARK).is_file():
        return folder
    next_step = "Check the path; `posedeploy convert` writes such folders."
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
        next_step = f"Convert the checkpoint: {_CONVERT.format(checkpoint=checkpoints[-1])}"
    raise BadInputError(
        f"model folder {path}", found, f"an SDK model folder, with {_MARK} in it", next_step
    )


def device_for(folder: Path, text: str | None) -> Device:
    """The device that the text names; None takes the first that the folder's backend has."""
    if text is not None:
        return parse_device(text)
    backend = read_folder(folder).model.backend
    return Device(backend_row(backend).devices[0] if backend in backend_names() else "cpu")


def parse_device(text: str) -> Device:
    """The device that 'cuda:1' names; BadInputError if what follows the colon is no number."""
    try:
        return Device.parse(text)
    except ValueError:
        raise BadInputError("--device", text, "cpu, cuda or cuda:1", "Change it.") from None
