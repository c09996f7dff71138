"""Cache folders, hashes of files, and files and folders that are written whole or not at all.

Uses the standard library alone, so that every room, and the judge, can use it.

What is not whole yet is in a hidden folder `.{name}-partial-{pid}-{random}` beside its target, on
which its process holds a lock (`flock`, which ends with the process, however it ends). So what a
killed process left can be told from what is being made, even if its pid is in use again, and the
next process that writes there removes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl

CACHE_VARIABLE = "POSEDEPLOY_CACHE"
# What `write` raises without a file's name, and libraries pass on
_OF_DISKS = frozenset({errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS})
_NO_ROOM = 1 << 16  # bytes: with fewer left, the disk is why a library could not write
_PARTIAL = re.compile(r"\..*-partial-\d+-[a-z0-9_]{8}", re.DOTALL)
_OLDER = ".older"  # ends the name of the folder that is being replaced
_LONGEST_NAME = 80  # bytes of a name in a hidden one; file systems take 255


def cache_dir(variable: str = CACHE_VARIABLE, name: str = "posedeploy") -> Path:
    """The folder that an environment variable names, or else `name` in the user's cache folder.

    The user's cache folder is the one of the XDG Base Directory Specification.
    """
    if named := os.environ.get(variable):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def followed(path: Path) -> Path | None:
    """Where a path leads through its links, even if nothing is there; None for a loop of links.

    `Path.resolve` raises RuntimeError for a loop up to Python 3.12; from 3.13 on it returns a path
    that still has a link of the loop in it. `os.path.realpath` returns one in every version.
    """
    real = Path(os.path.realpath(path))
    return None if any(part.is_symlink() for part in (real, *real.parents)) else real


def check_writable(folder: Path) -> None:
    """Write to a folder, or to where it would be made, and leave nothing behind.

    Permissions alone do not tell: a file system may be read-only, or full.

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
        if isinstance(cause, OSError) and (cause is error or cause.errno in _OF_DISKS):
            unnamed = cause.filename is None and cause.errno in _OF_DISKS
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
    _remove_leftovers_once(path.parent.absolute())
    with errors_naming(path), _partial_folder(path.parent, path.name) as folder:
        temporary = folder / path.name
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

    A link is followed. An older folder that a killed process was about to replace is put back
    first.

    Raises:
        OSError: The file system refused; `target` is as it was.
    """
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target.parent)
    _put_back(target)
    with _partial_folder(target.parent, target.name) as staging:
        staging.chmod(0o755)  # mkdtemp's folders are private; the result should not be
        with errors_naming(target):
            yield staging
        _put_in_place(staging, target)


@contextmanager
def scratch_folder(name: str, parent: Path | None = None) -> Iterator[Path]:
    """A hidden temporary folder in `parent`, by default in the one for temporary files.

    What dead processes left there is removed.

    Raises:
        OSError: The file system refused.
    """
    parent = parent or Path(tempfile.gettempdir())
    remove_leftovers(parent)
    with _partial_folder(parent, name) as folder:
        yield folder


def remove_leftovers(parent: Path) -> None:
    """Remove the hidden folders in `parent` that processes left which have died."""
    for path in _names_in(parent):
        if _PARTIAL.fullmatch(path.name) and (lock := _lock(path)) is not None:
            with _closing(lock):
                shutil.rmtree(path, ignore_errors=True)


def _names_in(folder: Path) -> list[Path]:
    """The paths in a folder; none where it may be written to and not be listed."""
    try:
        return list(folder.iterdir())
    except PermissionError:
        return []


@cache  # once a process: a folder may hold 10,000 files, each of which is written whole
def _remove_leftovers_once(parent: Path) -> None:
    remove_leftovers(parent)


@contextmanager
def _partial_folder(parent: Path, name: str) -> Iterator[Path]:
    lock = None
    path = _new_partial(parent, name)
    try:
        while (lock := _lock(path, wait=True)) is None and not path.exists():
            path = _new_partial(parent, name)  # another process took it for a dead one's
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _new_partial(parent: Path, name: str) -> Path:
    prefix = f".{_short(name)}-partial-{os.getpid()}-"
    return Path(tempfile.mkdtemp(dir=parent, prefix=prefix))


def _short(name: str) -> str:
    encoded = os.fsencode(name)
    if len(encoded) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME // 8]}-{hashlib.sha256(encoded).hexdigest()[:16]}"


def _lock(folder: Path, *, wait: bool = False) -> int | None:
    """Lock a folder until the returned descriptor is closed.

    None if another process has it, if it is not there, and where folders cannot be locked.
    """
    if sys.platform == "win32":
        return None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        locked = os.path.samestat(os.fstat(descriptor), folder.stat())  # or it was removed
    except OSError:
        locked = False
    if locked:
        return descriptor
    os.close(descriptor)
    return None


@contextmanager
def _closing(descriptor: int | None) -> Iterator[None]:
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _put_back(target: Path) -> None:
    """Rename the folder that a killed process was about to replace back to `target`.

    One that it had replaced is removed.
    """
    name = re.compile(rf"\.{re.escape(_short(target.name))}-partial-\d+-\w{{8}}{_OLDER}")
    for older in _names_in(target.parent):
        if name.fullmatch(older.name) and (lock := _lock(older)) is not None:
            with _closing(lock):
                if target.exists():
                    shutil.rmtree(older, ignore_errors=True)
                else:
                    older.rename(target)


def _put_in_place(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`; what is there is removed only once that is done."""
    older = staging.with_name(f"{staging.name}{_OLDER}")
    with _closing(_lock(target)):
        try:
            if os.path.lexists(target):
                target.rename(older)
            staging.rename(target)
        except BaseException:  # a signal may come between the two
            if os.path.lexists(older) and not os.path.lexists(target):
                older.rename(target)
            raise
        if older.is_dir():
            shutil.rmtree(older)
        elif os.path.lexists(older):
            older.unlink()
