"""What people give in place of an SDK model folder, and what to do about it."""

from __future__ import annotations

from pathlib import Path

from posedeploy.errors import BadInputError

_MARK = "deploy.json"  # every SDK model folder has it
_CONVERT = "posedeploy convert DEPLOY_CFG MODEL_CFG {checkpoint} PICTURE --work-dir DIR"


def check_model_folder(path: Path) -> Path:
    """The SDK model folder, given it or a file in it.

    Raises:
        BadInputError: It is none; a checkpoint, or a folder with one, is told how to become one.
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
