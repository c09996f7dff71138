"""Published checkpoints: downloaded with resumption, checked by hash, kept in the cache.

mmpose's checkpoints carry the first eight digits of their own SHA-256 in their names, as its
publishing script writes them; that is what a downloaded file is checked against.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.paths import cache_dir
from posedeploy.zoo.table import ModelRow, published

FOLDER = "checkpoints"  # in the cache
TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK = 1 << 20
_LOCK_SECONDS = 3600.0  # the largest checkpoint on a slow line
_HASH = re.compile(r"-([0-9a-f]{8})(?:_\d{8})?\.pth$")  # rtmpose-s_…-8edcf0d7_20230127.pth
# HTTP status codes: RFC 9110, sections 15.3.7 and 15.5.17
_PARTIAL, _NOT_SATISFIABLE = 206, 416

Told = Callable[[int, int | None], None]  # bytes there, bytes in all


def checkpoint_place(row: ModelRow, folder: Path | None = None) -> tuple[str, Path]:
    """Where a model's published checkpoint comes from, and where it is kept.

    Args:
        row: The model.
        folder: Where checkpoints are kept; None takes the cache.

    Raises:
        BadInputError: mmpose's index lists no checkpoint for it.
        UnavailableError: mmpose, whose index says where it lies, is not installed.
    """
    known = published(row)
    if known is None:
        raise BadInputError(
            f"model {row.name}", "no checkpoint in mmpose's index", "a model with a checkpoint",
            "Use 'calibrated' in place of the checkpoint.",
        )  # fmt: skip
    if folder is None:
        folder = cache_dir() / FOLDER
    return known.url, folder / Path(urlsplit(known.url).path).name


def fetched(row: ModelRow, folder: Path | None = None) -> Path | None:
    """The checkpoint, if it is there; its hash was checked when it was put there."""
    if published(row) is None:
        return None
    _, path = checkpoint_place(row, folder)
    return path if path.is_file() else None


def fetch_checkpoint(
    row: ModelRow,
    folder: Path | None = None,
    *,
    offline: bool = False,
    on_progress: Told = lambda _done, _total: None,
) -> Path:
    """The published checkpoint of a model; downloaded unless a right one is there.

    Args:
        row: The model.
        folder: Where checkpoints are kept; None takes the cache.
        offline: Use no network.
        on_progress: Told how many bytes are there, and of how many where that is known.

    Returns:
        The file. It is there whole or not at all; what an interrupted download has brought stays
        beside it as '….part', and the next one goes on from there.

    Raises:
        BadInputError: There is no checkpoint for the model, or a file is not what its name says.
        UnavailableError: Offline, or the server does not answer; the message says which file to
            put where.
    """
    url, path = checkpoint_place(row, folder)
    import filelock

    if path.is_file():
        check_hash(path)
        return path
    if offline:
        raise _unavailable(url, path, "no such file, and --offline")
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
        if not path.is_file():  # another process may have fetched it meanwhile
            _fetch(url, path, on_progress)
    return path


def _fetch(url: str, path: Path, on_progress: Told) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        download(url, part, on_progress)
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        raise _unavailable(url, path, f"no answer that is of use ({_why(error)})") from error
    try:
        check_hash(part, path.name)
    except BadInputError:
        part.unlink()  # nothing that could be gone on from
        raise
    part.replace(path)


def download(url: str, part: Path, on_progress: Told) -> None:
    """Download a file, going on from what is there of it.

    Args:
        url: Where from.
        part: The file; bytes are added to what it holds.
        on_progress: See `fetch_checkpoint`.

    Raises:
        OSError: The server cannot be reached, refuses, or stops before the end.
        http.client.HTTPException: It speaks no proper HTTP.
    """
    done = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - mmpose's index names it
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == _NOT_SATISFIABLE:  # all of it is there; its hash will tell
            return
        raise
    with response:
        if response.status != _PARTIAL:  # a server without ranges begins anew
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def check_hash(path: Path, name: str | None = None) -> None:
    """Refuse a file whose SHA-256 does not begin as its name says; a name without one is trusted.

    Args:
        path: The file.
        name: Its name, where it has not got it yet.

    Raises:
        BadInputError: With both.
    """
    match = _HASH.search(name or path.name)
    if match is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not found.startswith(match[1]):
        raise BadInputError(
            f"checkpoint {path}",
            f"{path.stat().st_size:,} bytes with SHA-256 {found[:8]}…",
            f"SHA-256 {match[1]}…, as its name says",
            f"It is damaged, or another file: delete {path} and fetch it again.",
        )


def _unavailable(url: str, path: Path, found: str) -> UnavailableError:
    return UnavailableError(
        f"checkpoint {path.name}", found, url,
        f"Download it where there is a network, and put it at {path}",
    )  # fmt: skip


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error) or type(error).__name__
