"""Where the deploy configs are, and reading MMEngine config files with errors for people."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import os
import re
import shlex
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posedeploy import compat
from posedeploy.config.type_names import with_type_names
from posedeploy.errors import BadInputError
from posedeploy.heads import NOT_SUPPORTED

TRUST_VARIABLE = "POSEDEPLOY_TRUST_CONFIGS"  # '1' hides the line about configs of others
_log = logging.getLogger(__name__)
# MMEngine's error for `from mmpose.configs.… import *`; the wheel has them in mmpose/.mim/configs
_LACKING = re.compile(r"\S*/mmpose/configs/(?P<file>\S+\.py) not found!")


def config_root() -> Path:
    """The folder with this project's deploy config files."""
    here = Path(__file__).resolve()
    installed = here.parents[1] / "deploy_configs"
    return installed if installed.is_dir() else here.parents[3] / "deploy_configs"


def find_beside(path: Path, name: str) -> Path | None:
    """The file that the config `path` names; None if there is none.

    As in mmpose a relative name counts from the current folder; if there is none, from the folder
    of the config and those around it.
    """
    places = [Path(), *path.absolute().parents]
    return next((file for place in places if (file := place / name).is_file()), None)


def wheels_file(name: str) -> Path | None:
    """The file in mmpose's wheel with this path in its repository, 'configs/…'; None if none has.

    mmpose is not imported.
    """
    mmpose = importlib.util.find_spec("mmpose")
    if mmpose is None or mmpose.origin is None:
        return None
    file = Path(mmpose.origin).parent / ".mim" / name
    return file if file.is_file() else None


def read_config(path: Path, what: str) -> Any:
    """The `mmengine.config.Config` of a file, which is run; `what` it should be is for messages.

    Types are names in it, also where the file has classes; its `custom_imports` are imported. At
    the first use of a file that is neither ours nor mmpose's, a line is logged that it runs.

    Raises:
        BadInputError: The file is missing or is not a config, or a module of its `custom_imports`
            cannot be imported.
    """
    compat.defer()
    from mmengine.config import Config

    if not path.is_file():
        raise BadInputError(str(path), "no such file", f"a {what}", "Check the path.")
    if path.suffix != ".py":
        found = f"a {path.suffix or 'suffixless'} file"
        raise BadInputError(str(path), found, f"a {what} (.py)", "Check the path.")
    if not any(path.resolve().is_relative_to(place) for place in _own_places()):
        _tell(path)
    try:
        with compat.installing():
            config = Config.fromfile(str(path), import_custom_modules=False)
        config = with_type_names(config)
    except SyntaxError as error:  # the name in it is that of MMEngine's temporary copy
        raise BadInputError(
            str(path), f"a syntax error in line {error.lineno}: {error.msg}",
            f"a {what} in MMEngine's format, which is Python",
            "Correct that line, or the one before it; it may be in a _base_ file.",
        ) from error  # fmt: skip
    except (Exception, SystemExit) as error:  # a config is Python: anything can come out of it
        raise _unreadable(path, what, error) from error
    import_custom_modules(path, config.get("custom_imports"))
    return config


def _unreadable(path: Path, what: str, error: BaseException) -> BadInputError:
    """The error for a person where a config's code stops, or a file that it begins with is not."""
    lacking = _LACKING.match(str(error))
    if lacking is None:
        return BadInputError(
            str(path), first_line(error), f"a {what} in MMEngine's format",
            "Correct the file; its _base_ files must be where it names them.",
        )  # fmt: skip
    reasons = (why for head, why in NOT_SUPPORTED.items() if head in path.read_text("utf-8"))
    base = lacking["file"]
    return BadInputError(
        str(path), f"a base file that mmpose's wheel does not have: mmpose/configs/{base}",
        f"a {what} whose base files are installed",
        next(reasons, f"Inherit from it in the older format: _base_ = ['mmpose::{base}']"),
    )  # fmt: skip


def import_custom_modules(path: Path, custom: Any) -> None:
    """Import the modules of a config's `custom_imports`, of the file `path`; None for none.

    Raises:
        BadInputError: The entry is not as MMEngine's, or a module cannot be imported; the place
            of the error in it is named.
    """
    if not custom:
        return
    subject = f"{path}: custom_imports"
    given = custom.get("imports") if isinstance(custom, dict) else None
    modules = [given] if isinstance(given, str) else given
    if not isinstance(modules, list | tuple) or not all(isinstance(m, str) for m in modules):
        raise BadInputError(
            subject, repr(custom), "dict(imports=['package.module', …])", "Correct the entry."
        )
    for module in modules:
        try:
            with compat.installing():
                importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a module is Python, as the config is
            if isinstance(error, ImportError) and custom.get("allow_failed_imports"):
                _log.warning("%s, which may fail: %s", subject, first_line(error))
                continue
            raise _failed_import(subject, path, module, error) from error


def _failed_import(subject: str, path: Path, module: str, error: BaseException) -> BadInputError:
    found = f"module {module}, which cannot be imported: {first_line(error)}"
    frames = traceback.extract_tb(error.__traceback__)
    top, missing = module.partition(".")[0], getattr(error, "name", None)
    if isinstance(error, ModuleNotFoundError) and module.startswith(str(missing)):
        folders = (Path.cwd(), *path.absolute().parents)
        has_it = (f for f in folders if (f / top).is_dir() or (f / f"{top}.py").is_file())
        folder = next(has_it, None)
        value = "the folder that holds it" if folder is None else shlex.quote(str(folder))
        next_step = f"Set PYTHONPATH to {value}." if folder is None else f"Set PYTHONPATH={value}"
    else:
        own = [frame for frame in frames if not _is_importing(frame)]
        if own:
            found += f" (line {own[-1].lineno} of {own[-1].filename})"
        next_step = "Correct the module, or install what it needs."
    return BadInputError(subject, found, "modules that can be imported", next_step)


def _is_importing(frame: traceback.FrameSummary) -> bool:
    return frame.filename in {__file__, importlib.__file__} or "importlib" in frame.filename


def first_line(error: BaseException) -> str:
    """Type and message of an error, of whose lines the first that is not empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])


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
