"""Where the deploy configs are, and reading MMEngine config files with errors for people."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posedeploy import compat
from posedeploy.errors import BadInputError

TRUST_VARIABLE = "POSEDEPLOY_TRUST_CONFIGS"  # '1' hides the line about configs of others
_log = logging.getLogger(__name__)


def config_root() -> Path:
    """The folder with this project's deploy config files."""
    here = Path(__file__).resolve()
    installed = here.parents[1] / "deploy_configs"
    return installed if installed.is_dir() else here.parents[3] / "deploy_configs"


def read_config(path: Path, what: str) -> Any:
    """The `mmengine.config.Config` of a file, which is run; `what` it should be is for messages.

    At the first use of a file that is neither ours nor mmpose's, a line is logged that it runs.

    Raises:
        BadInputError: The file is missing or is not a config.
    """
    from mmengine.config import Config

    if not path.is_file():
        raise BadInputError(str(path), "no such file", f"a {what}", "Check the path.")
    if path.suffix != ".py":
        found = f"a {path.suffix or 'suffixless'} file"
        raise BadInputError(str(path), found, f"a {what} (.py)", "Check the path.")
    if not any(path.resolve().is_relative_to(place) for place in _own_places()):
        _tell(path)
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


def _own_places() -> Iterator[Path]:
    """Where the configs of this project are, and those of mmpose, which the zoo's models have."""
    yield config_root().resolve()
    mmpose = importlib.util.find_spec("mmpose")
    if mmpose is not None and mmpose.origin:
        yield Path(mmpose.origin).resolve().parent


@functools.cache  # once for each file
def _tell(path: Path) -> None:
    if os.environ.get(TRUST_VARIABLE) != "1":
        _log.warning(
            "%s runs as Python, like every MMEngine config: use only configs that you trust. "
            "%s=1 hides this line.", path, TRUST_VARIABLE,
        )  # fmt: skip
