"""The arguments MODEL_DIR and --device."""

from __future__ import annotations

from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.runtime import backend_names, backend_row
from posedeploy.sdk.folder import read_folder

_MARK = "deploy.json"  # every SDK model folder has it
_CONVERT = "posedeploy convert DEPLOY_CFG MODEL_CFG {checkpoint} IMAGE --work-dir DIR"


def check_model_folder(path: Path) -> Path:
    """The SDK model folder, given it or a file in it.

    Raises:
        BadInputError: It is none. For a checkpoint, or a folder with one, the message has the
            command that converts it.
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


def device_for(folder: Path, text: str | None) -> tuple[str, int]:
    """Device type and number; by default the first device of the folder's backend.

    Raises:
        BadInputError: The text after the colon is no number, or the folder cannot be read.
    """
    if text is not None:
        return parse_device(text)
    backend = read_folder(folder).model.backend
    return (backend_row(backend).devices[0] if backend in backend_names() else "cpu"), 0


def parse_device(text: str) -> tuple[str, int]:
    """Device type and number: 'cuda:1' is ('cuda', 1).

    Raises:
        BadInputError: The text after the colon is no number.
    """
    kind, _, number = text.partition(":")
    if number and not number.isdecimal():
        raise BadInputError("--device", text, "cpu, cuda or cuda:1", "Change it.")
    return kind, int(number or 0)
