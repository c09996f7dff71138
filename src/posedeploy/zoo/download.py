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

from posedeploy.errors import BadInputError, UnavailableError, what_it_is
from posedeploy.paths import cache_dir, errors_naming
from posedeploy.runtime.processes import held, waiting
from posedeploy.zoo.table import ModelRow, published

FOLDER = "checkpoints"  # in the cache
_TIMEOUT_SECONDS = 30.0  # without a byte
_CHUNK = 1 << 20
_LOCK_SECONDS = 3600.0  # the largest checkpoint on a slow line
# mmpose's index has no sizes; the largest checkpoint of the table has 0.5 GB
MAX_BYTES = 2 * 2**30
# rtmpose-s_…-8edcf0d7_20230127.pth; in mine-20240131.pth the digits are a date
_HASH = re.compile(
    r"-(?!20\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\.)([0-9a-f]{8})(?:_\d{8})?\.pth$"
)
_CHECKPOINT = (b"PK\x03\x04", b"\x80")  # how what torch.save wrote begins: a ZIP file, or a pickle
SCHEMES = ("http", "https")

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


def fetch_url(url: str, folder: Path | None = None, *, on_progress: OnProgress = _ignore) -> Path:
    """The checkpoint at a URL, downloaded unless it is in the folder (by default the cache's) yet.

    A name with a hash in it is the file's; without one the URL decides where it is kept, and what
    was kept is taken for as long as it is there.

    Raises:
        BadInputError: It is no such URL, the server has no such file, or what it sends is no
            checkpoint, or not the one of the hash in its name.
        UnavailableError: The server does not answer, or not to the end.
    """
    name = _name_in(url)
    path = (folder or cache_dir() / FOLDER) / name
    if not _HASH.search(name):
        path = path.parent / hashlib.sha256(url.encode()).hexdigest()[:16] / name
    try:
        fetch(url, path, on_progress=on_progress)
    except UnavailableError as error:
        answer = error.__cause__
        if isinstance(answer, urllib.error.HTTPError) and 400 <= answer.code < 500:
            raise BadInputError(
                f"checkpoint {url}", f"HTTP {answer.code} {answer.reason}", "a file at this URL",
                "Check the URL. If it opens in a browser, download it there and give the path.",
            ) from error  # fmt: skip
        raise
    return path


def _name_in(url: str) -> str:
    """The file's name in a URL."""
    try:
        parts = urlsplit(url)
        name = Path(parts.path).name
        if parts.scheme in SCHEMES and parts.hostname and name:
            return name
        found = "no name of a file in it" if parts.scheme in SCHEMES else f"{parts.scheme}://"
    except ValueError as error:  # a port that is no number, brackets
        found = str(error)
    raise BadInputError(
        f"checkpoint {url}", found, "https://HOST/…/NAME.pth, or http://",
        "Download the file with what reads such an address, and give its path.",
    )  # fmt: skip


def fetch(
    url: str,
    path: Path,
    *,
    offline: bool = False,
    on_progress: OnProgress = _ignore,
    max_bytes: int = MAX_BYTES,
) -> None:
    """Download a file whole or not at all, unless it is there; one process at a time.

    An interrupted download leaves '….part', which the next one resumes. Nothing is left of a file
    of more than `max_bytes`. Errors are those of `fetch_checkpoint`, a BadInputError where
    something else is in a file's place, and an OSError where the disk is full.
    """
    import filelock  # an environment for running alone lists checkpoints without it

    if path.is_file():
        check_hash(path)
        return
    if offline:
        raise _unavailable(url, path, "no such file, and --offline")
    part, lock = (path.with_name(f"{path.name}{suffix}") for suffix in (".part", ".lock"))
    _check_places(path, part, lock)
    with held(filelock.FileLock(lock, timeout=_LOCK_SECONDS)):
        if path.is_file():  # another process has downloaded it meanwhile
            return
        if not _HASH.search(path.name):
            part.unlink(missing_ok=True)  # nothing tells whether the rest is of the same file
        try:
            with waiting():
                _download(url, part, max_bytes, on_progress)
        except (OSError, ValueError, http.client.HTTPException) as error:
            # URLError is an OSError; a ValueError is about a URL that a server redirects to
            if getattr(error, "filename", None) == str(part):
                raise  # not the server, but the disk
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError):
                reason = f"HTTP {error.code} {reason}"
            raise _unavailable(url, path, f"no usable answer ({reason})") from error
        try:
            _check_content(part, path.name, url)
        except BadInputError:
            part.unlink()  # nothing to resume
            raise
        part.replace(path)


def _check_content(part: Path, name: str, url: str) -> None:
    """BadInputError for a download that is no checkpoint, or not that of the hash in its name."""
    if _HASH.search(name):
        check_hash(part, name, f"checkpoint {url}")
        return
    with part.open("rb") as file:
        start = file.read(4)
    if not start.startswith(_CHECKPOINT):
        raise BadInputError(
            f"checkpoint {url}", what_it_is(part), "a checkpoint written by torch.save",
            "Take the address of the file itself: that of a page about it has other content.",
        )  # fmt: skip


def _check_places(path: Path, *others: Path) -> None:
    """Refuse a place for a file where something else is, and make the folder of `path`."""
    next_step = "Move it away, or name another folder."
    for place in (path, *others):
        if place.exists() and not place.is_file():
            found = "a folder" if place.is_dir() else "what is no regular file"
            raise BadInputError(str(place), found, "a file, or nothing yet", next_step)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        found = error.strerror or str(error)
        raise BadInputError(str(path.parent), found, "a folder", next_step) from error


def _opener() -> urllib.request.OpenerDirector:
    """Opens HTTP alone: the usual one follows a redirect to FTP too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler, urllib.request.UnknownHandler, urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPRedirectHandler, urllib.request.HTTPErrorProcessor,
    ):  # fmt: skip
        opener.add_handler(handler())
    return opener


def _total(response: http.client.HTTPResponse, done: int) -> int | None:
    """Bytes of the whole file, of which an answer brings what follows `done`; None if unknown."""
    span = response.headers.get("Content-Range")
    if done and span is not None and not span.startswith(f"bytes {done}-"):
        raise ConnectionError(f"{span[:40]!r} where the bytes from {done:,} were asked for")
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise ConnectionError(f"a Content-Length of {length[:40]!r}")
    return done + int(length)


def _download(url: str, part: Path, max_bytes: int, on_progress: OnProgress) -> None:
    """Append to `part` what it lacks of a file."""
    done = part.stat().st_size if part.is_file() else 0
    if done > max_bytes:
        part.unlink()
        done = 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - mmpose's index names it
    try:
        response = _opener().open(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # the part is complete; its hash is checked next
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # a server without ranges
            done = 0
        total = _total(response, done)
        if total is not None and total > max_bytes:
            raise ConnectionError(f"{total:,} bytes; a checkpoint has at most {max_bytes:,}")
        with errors_naming(part):
            file = part.open("ab" if done else "wb", buffering=0)
        with file:
            while chunk := response.read(_CHUNK):
                with errors_naming(part):
                    file.write(chunk)
                done += len(chunk)
                if done > max_bytes:
                    part.unlink()  # nothing to resume
                    raise ConnectionError(f"more than {max_bytes:,} bytes")
                on_progress(done, total)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def check_hash(path: Path, name: str | None = None, subject: str = "") -> None:
    """BadInputError for a file whose SHA-256 does not begin with the digits in its name, if any.

    `name` is the file's final name, if it differs; `subject` is the error's, if it isn't the file.
    """
    match = _HASH.search(name or path.name)
    if match is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(match[1]):
        final = path.with_name(match.string)
        raise BadInputError(
            subject or f"checkpoint {final}", f"{what_it_is(path)} with SHA-256 {digest[:8]}…",
            f"SHA-256 {match[1]}…, as its name says",
            f"It is damaged, or another file: delete {path} and fetch it again." if path == final
            else "Nothing was kept. Fetch it again; if it is the same then, the server has "
            "another file under this name.",
        )  # fmt: skip


def _unavailable(url: str, path: Path, reason: str) -> UnavailableError:
    return UnavailableError(
        f"checkpoint {path.name}", reason, url,
        f"Run it again where there is a network, or download it elsewhere and put it at {path}",
    )  # fmt: skip
