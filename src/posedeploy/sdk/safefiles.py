"""Read files of an SDK model folder from an untrusted source.

A folder may come from anywhere, so nothing outside it is ever opened, nothing but regular
files is, and everything has a size limit.  JSON is stricter than Python's own reader: UTF-8,
no duplicate keys, no NaN or infinity, bounded depth.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from posedeploy.errors import BadInputError

MAX_JSON_BYTES = 4 * 2**20  # real ones have a few kB
MAX_JSON_DEPTH = 32  # real ones have 8
MAX_BACKEND_BYTES = 2 * 2**30  # protobuf's own limit, and so ONNX's without external data
MAX_PACKAGE_ENTRIES = 1000  # an .mlpackage has a handful

_REMAKE = "Convert the model again, or copy the whole folder again."


def _plain_name(name: str, subject: str) -> None:
    """Refuse names that are no relative path below the folder."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outward = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if not name or outward or "\0" in name or len(name) > 255:
        raise BadInputError(
            subject, f"{name[:80]!r}", "the name of a file in the folder itself", _REMAKE
        )


def file_inside(folder: Path, name: str, subject: str, *, limit: int = MAX_BACKEND_BYTES) -> Path:
    """Path of a regular file that really lies in `folder`.

    Args:
        folder: The SDK model folder.
        name: File name as written in a JSON file; relative, with `/`.
        subject: File and JSON path that `name` was read from, for the error message.
        limit: Largest size accepted, in bytes.

    Raises:
        BadInputError: The name leads out of the folder, itself or through a link; there is no
            such file; it is not a regular file; it is larger than `limit`.
    """
    _plain_name(name, subject)
    path = folder / name
    try:
        real, root = path.resolve(strict=True), folder.resolve(strict=True)
        status = real.stat()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        found = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise BadInputError(
            subject, f"{name!r}: {found}", f"a file in {folder}", _REMAKE
        ) from error
    if not real.is_relative_to(root):
        raise BadInputError(
            subject, f"{name!r}, a link to {real}", f"a file that lies in {folder}", _REMAKE
        )
    if stat.S_ISDIR(status.st_mode) and name.endswith(".mlpackage"):
        return _checked_package(real, subject, limit)
    if not stat.S_ISREG(status.st_mode):
        raise BadInputError(subject, f"{name!r}, not a regular file", "a regular file", _REMAKE)
    if status.st_size > limit:
        raise BadInputError(
            subject, f"{name!r} of {status.st_size:,} bytes", f"at most {limit:,} bytes", _REMAKE
        )
    return real


def _checked_package(package: Path, subject: str, limit: int) -> Path:
    """An `.mlpackage` is a directory: the same rules for everything in it, and no links."""
    total = 0
    for count, entry in enumerate(package.rglob("*"), start=1):
        status = entry.lstat()
        regular = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        total += status.st_size
        if not regular or count > MAX_PACKAGE_ENTRIES or total > limit:
            raise BadInputError(
                subject,
                f"{entry.name!r} in {package.name} is a link, or the package is too large",
                f"regular files, at most {MAX_PACKAGE_ENTRIES} and {limit:,} bytes together",
                _REMAKE,
            )
    return package


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        double = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {double!r} twice in one object")
    return result


def _constant(name: str) -> Any:
    raise ValueError(f"{name}, which is no JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]}, larger than a double holds")
    return value


def json_depth(value: Any, limit: int = MAX_JSON_DEPTH) -> int:
    """Depth of nesting of a parsed JSON value; stops counting at `limit` + 1."""
    level, depth = [value], 0
    while level and depth <= limit:
        containers = [item for item in level if isinstance(item, dict | list)]
        depth += bool(containers)
        level = [
            child
            for item in containers
            for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file of the folder.

    Raises:
        BadInputError: As `file_inside`; or the content is not UTF-8, not JSON, not an object,
            nested deeper than `MAX_JSON_DEPTH`, or has a key twice in one object.
    """
    path = file_inside(folder, name, str(folder / name), limit=MAX_JSON_BYTES)
    expected = "one JSON object in UTF-8"
    try:
        value = json.loads(
            path.read_bytes().decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_float=_float,
        )
    except UnicodeDecodeError as error:
        found = f"bytes that are not UTF-8, at byte {error.start}"
        raise BadInputError(str(folder / name), found, expected, _REMAKE) from error
    except RecursionError as error:
        found = f"nesting deeper than {MAX_JSON_DEPTH}"
        raise BadInputError(str(folder / name), found, expected, _REMAKE) from error
    except (OSError, ValueError) as error:
        raise BadInputError(str(folder / name), str(error), expected, _REMAKE) from error
    if not isinstance(value, dict):
        found = f"a JSON {type(value).__name__}"
        raise BadInputError(str(folder / name), found, expected, _REMAKE)
    if json_depth(value) > MAX_JSON_DEPTH:
        found = f"nesting deeper than {MAX_JSON_DEPTH}"
        raise BadInputError(str(folder / name), found, expected, _REMAKE)
    return value
