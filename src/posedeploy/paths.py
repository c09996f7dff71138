"""Cache folders, and files and folders that are written whole or not at all.

Uses the standard library alone, so that every room, and the judge, can use it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = "POSEDEPLOY_CACHE"


def cache_dir(variable: str = CACHE_VARIABLE, name: str = "posedeploy") -> Path:
    """The folder that an environment variable names, or else `name` in the user's cache folder.

    The user's cache folder is the one of the XDG Base Directory Specification.
    """
    if named := os.environ.get(variable):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file that replaces `path` if the block ends without an error.

    The temporary file has the name of `path`, in a temporary folder beside it: some writers
    (`torch.save`) put the name of the file into it. The folder of `path` is made if it is missing.

    Raises:
        OSError: The file system refused; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem[:40]}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8, LF) whole or not at all.

    Raises:
        OSError: The file system refused; `path` is as it was.
    """
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that replaces `target` if the block ends without an error.

    Raises:
        OSError: The file system refused; `target` is as it was.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        staging.chmod(0o755)  # mkdtemp's folders are private; the result should not be
        yield staging
        _put_in_place(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; an older folder there is deleted only once that is done."""
    if not target.exists():
        staging.rename(target)
        return
    older = staging.with_name(f"{staging.name}.older")
    target.rename(older)
    try:
        staging.rename(target)
    except OSError:
        older.rename(target)
        raise
    shutil.rmtree(older)
