"""Read files of an SDK model folder from an untrusted source.

A folder may come from anywhere, so nothing outside it is ever opened, nothing but regular
files is, and everything has a size limit.  JSON is read by `strictjson`.
"""

from __future__ import annotations

import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from posedeploy import strictjson
from posedeploy.errors import BadInputError

MAX_JSON_BYTES = 4 * 2**20  # real ones have a few kB
MAX_BACKEND_BYTES = 2 * 2**30  # protobuf's own limit, and so ONNX's without external data
MAX_PACKAGE_ENTRIES = 1000  # an .mlpackage has a handful


def _wrong(subject: str, found: str, expected: str) -> BadInputError:
    next_step = "Convert the model again, or copy the whole folder again."
    return BadInputError(subject, found, expected, next_step)


def file_inside(folder: Path, name: str, subject: str, *, limit: int = MAX_BACKEND_BYTES) -> Path:
    """Path of a regular file of at most `limit` bytes that really lies in `folder`.

    `name` is relative, with `/`; `subject` is the file and JSON path that it was read from.  A
    BadInputError tells a name that leads out of the folder, itself or through a link, no such
    file, one that is not regular, and one that is too large.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outward = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if not name or outward or "\0" in name or len(name) > 255:
        raise _wrong(subject, f"{name[:80]!r}", "the name of a file in the folder itself")
    path = folder / name
    try:
        real, root = path.resolve(strict=True), folder.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise _wrong(subject, f"{name!r}: {found}", f"a file in {folder}") from error
    if not real.is_relative_to(root):
        raise _wrong(subject, f"{name!r}, a link to {real}", f"a file that lies in {folder}")
    if stat.S_ISDIR(status.st_mode) and name.endswith(".mlpackage"):
        _check_package(real, subject, limit)
        return real
    if not stat.S_ISREG(status.st_mode):
        raise _wrong(subject, f"{name!r}, not a regular file", "a regular file")
    if status.st_size > limit:
        raise _wrong(subject, f"{name!r} of {status.st_size:,} bytes", f"at most {limit:,} bytes")
    return real


def _check_package(package: Path, subject: str, limit: int) -> None:
    """An `.mlpackage` is a directory: the same rules for everything in it, and no links."""
    total = 0
    for count, entry in enumerate(package.rglob("*"), start=1):
        status = entry.lstat()
        regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        total += status.st_size
        if not regular or count > MAX_PACKAGE_ENTRIES or total > limit:
            found = f"{entry.name!r} in {package.name} is a link, or it is too large"
            expected = f"regular files, at most {MAX_PACKAGE_ENTRIES} and {limit:,} bytes together"
            raise _wrong(subject, found, expected)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of the folder.

    A BadInputError is raised as by `file_inside`, and where the content is not UTF-8, not an
    object, or not what `strictjson.parse` takes.
    """
    subject, expected = str(folder / name), "one JSON object in UTF-8"
    path = file_inside(folder, name, subject, limit=MAX_JSON_BYTES)
    try:
        value = strictjson.parse(path.read_bytes().decode("utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"a JSON {type(value).__name__}")
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8, at byte {error.start}"
        raise _wrong(subject, found, expected) from error
    except (OSError, ValueError) as error:
        raise _wrong(subject, str(error), expected) from error
    return value
