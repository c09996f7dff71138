"""Cache folders, and files and folders that are written whole or not at all.

Uses the standard library alone, so that every room, and the judge, can use it.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = "POSEDEPLOY_CACHE"
_FULL = frozenset({errno.EDQUOT, errno.ENOSPC})
_NO_ROOM = 1 << 16  # bytes: with fewer left, the disk is why a library could not write


def cache_dir(variable: str = CACHE_VARIABLE, name: str = "posedeploy") -> Path:
    """The folder that an environment variable names, or else `name` in the user's cache folder.

    The user's cache folder is the one of the XDG Base Directory Specification.
    """
    if named := os.environ.get(variable):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


def check_writable(folder: Path) -> None:
    """Write to a folder, or to where it would be made, and leave nothing behind.

    Permissions alone do not tell: there are file systems that nobody can write to, and full ones.

    Raises:
        OSError: The file system refused; it names the folder that is there.
    """
    wanted = folder.absolute()
    place = next(path for path in (wanted, *wanted.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(place)) from error


@contextmanager
def errors_naming(path: Path) -> Iterator[None]:
    """Errors of the file system within the block name `path`.

    `write` names no file, libraries raise errors of their own for a full disk, and a temporary
    name beside `path` tells a person nothing.
    """
    try:
        yield
    except Exception as error:
        if (refusal := _refusal(error, path)) is None:
            raise
        raise refusal from error


def _refusal(error: Exception, path: Path) -> OSError | None:
    """The error of the file system that is behind another one, about `path`; None without one."""
    hidden = os.path.join(path.parent.absolute(), ".")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and (cause is error or cause.errno in _FULL):
            unnamed = cause.filename is None and cause.errno in _FULL
            if unnamed or os.path.abspath(str(cause.filename)).startswith(hidden):
                return OSError(cause.errno, cause.strerror, str(path))
            return None  # it names another file
        cause = cause.__cause__ or cause.__context__
    system = os.statvfs(path.parent)
    blocks = system.f_bfree if os.geteuid() == 0 else system.f_bavail
    if blocks * system.f_frsize < _NO_ROOM:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    return None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary file that replaces `path` if the block ends without an error.

    The temporary file has the name of `path`, in a temporary folder beside it: some writers
    (`torch.save`) put the name of the file into it. The folder of `path` is made if it is missing.

    Raises:
        OSError: The file system refused; `path` is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        errors_naming(path),
        # a part of the name: all of it may be as long as the file system allows
        tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem[:40]}-") as folder,
    ):
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
        with errors_naming(target):
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
