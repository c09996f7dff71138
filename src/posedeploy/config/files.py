"""Where the deploy configs are, and reading MMEngine config files with errors for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posedeploy import compat
from posedeploy.errors import BadInputError


def config_root() -> Path:
    """The folder with this project's deploy config files."""
    here = Path(__file__).resolve()
    installed = here.parents[1] / "deploy_configs"
    return installed if installed.is_dir() else here.parents[3] / "deploy_configs"


def read_config(path: Path, what: str) -> Any:
    """The `mmengine.config.Config` of a file; `what` it should be is for messages.

    Raises:
        BadInputError: The file is missing or is not a config.
    """
    from mmengine.config import Config

    if not path.is_file():
        raise BadInputError(str(path), "no such file", f"a {what}", "Check the path.")
    if path.suffix != ".py":
        found = f"a {path.suffix or 'suffixless'} file"
        raise BadInputError(str(path), found, f"a {what} (.py)", "Check the path.")
    if b"custom_imports" in path.read_bytes():  # modules of the user's, which import mmpose
        compat.install()
    try:
        return Config.fromfile(str(path))
    except SyntaxError as error:  # the name in it is that of MMEngine's temporary copy
        raise BadInputError(
            str(path), f"a syntax error in line {error.lineno}: {error.msg}",
            f"a {what} in MMEngine's format, which is Python",
            "Correct that line, or the one before it; it may be in a _base_ file.",
        ) from error  # fmt: skip
    except Exception as error:  # a config is Python: anything can come out of running it
        raise BadInputError(
            str(path), f"{type(error).__name__}: {error}", f"a {what} in MMEngine's format",
            "Correct the file; its _base_ files must be where it names them.",
        ) from error  # fmt: skip
