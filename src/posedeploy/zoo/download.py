"""Published checkpoints: downloaded with resumption, checked by hash, kept in the cache.

A checkpoint's name has the first eight digits of its SHA-256, which are checked. The HTTP code is
our own: `pooch` compares whole hashes, and neither it nor `torch.hub` resumes a download.
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
from posedeploy.paths import cache_dir, errors_naming
from posedeploy.runtime.processes import held, waiting
from posedeploy.zoo.table import ModelRow, published

FOLDER = "checkpoints"  # in the cache
_TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK = 1 << 20
_LOCK_SECONDS = 3600.0  # the largest checkpoint on a slow line
_HASH = re.compile(r"-([0-9a-f]{8})(?:_\d{8})?\.pth$")  # rtmpose-s_…-8edcf0d7_20230127.pth

OnProgress = Callable[[int, int | None], None]  # bytes downloaded, bytes in total or None


def _ignore(_done: int, _total: int | None) -> None:
    pass


def checkpoint_source(row: ModelRow, folder: Path | None = None) -> tuple[str, Path]:
    """URL of a model's published checkpoint, and its path in a folder, by default the cache's.

    BadInputError if mmpose's index lists none, UnavailableError without mmpose.
    """
    entry = published(row)
    if entry is None:
        raise BadInputError(
            f"model {row.name}", "no checkpoint in mmpose's index", "a model with a checkpoint",
            "Use 'calibrated' in place of the checkpoint.",
        )  # fmt: skip
    folder = folder or cache_dir() / FOLDER
    return entry.url, folder / Path(urlsplit(entry.url).path).name


def fetched(row: ModelRow, folder: Path | None = None) -> Path | None:
    """The downloaded checkpoint of a model; None if there is none."""
    path = checkpoint_source(row, folder)[1] if published(row) else None
    return path if path and path.is_file() else None


def fetch_checkpoint(
    row: ModelRow,
    folder: Path | None = None,
    *,
    offline: bool = False,
    on_progress: OnProgress = _ignore,
) -> Path:
    """The published checkpoint of a model, downloaded if it is not in the folder yet.

    Raises:
        BadInputError: There is no checkpoint for the model, or a file does not match the hash in
            its name.
        UnavailableError: Offline, or the server does not answer; the message has URL and path.
    """
    url, path = checkpoint_source(row, folder)
    fetch(url, path, offline=offline, on_progress=on_progress)
    return path


def fetch(
    url: str, path: Path, *, offline: bool = False, on_progress: OnProgress = _ignore
) -> None:
    """Download a file whole or not at all, unless it is there; one process at a time.

    An interrupted download leaves '….part', which the next one resumes. Errors are those of
    `fetch_checkpoint`.
    """
    import filelock  # an environment for running alone lists checkpoints without it

    if path.is_file():
        check_hash(path)
        return
    if offline:
        raise _unavailable(url, path, "no such file, and --offline")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with held(filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS)):
        if path.is_file():  # another process has downloaded it meanwhile
            return
        try:
            with waiting():
                _download(url, part, on_progress)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            if getattr(error, "filename", None) == str(part):
                raise  # not the server, but the disk
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise _unavailable(url, path, f"no usable answer ({reason})") from error
        try:
            check_hash(part, path.name)
        except BadInputError:
            part.unlink()  # nothing to resume
            raise
        part.replace(path)


def _download(url: str, part: Path, on_progress: OnProgress) -> None:
    """Append to `part` what it lacks of a file."""
    done = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - mmpose's index names it
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the part is complete; its hash is checked next
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # a server without ranges
            done = 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        with errors_naming(part), part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def check_hash(path: Path, name: str | None = None) -> None:
    """BadInputError for a file whose SHA-256 does not begin with the digits in its name, if any.

    `name` is the file's final name, if it differs.
    """
    match = _HASH.search(name or path.name)
    if match is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(match[1]):
        raise BadInputError(
            f"checkpoint {path}", f"{path.stat().st_size:,} bytes with SHA-256 {digest[:8]}…",
            f"SHA-256 {match[1]}…, as its name says",
            f"It is damaged, or another file: delete {path} and fetch it again.",
        )  # fmt: skip


def _unavailable(url: str, path: Path, reason: str) -> UnavailableError:
    return UnavailableError(
        f"checkpoint {path.name}", reason, url,
        f"Download it where there is a network, and put it at {path}",
    )  # fmt: skip
