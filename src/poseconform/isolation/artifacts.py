"""The cache of conversions and references: content-addressed folders.

An entry is a folder named by the hash of everything that went into it. It is made once per
machine under a file lock, renamed into place whole, and verified by hash when it is read. A
change of the toolchain changes every key, so what has not been used for longest is removed when
the cache grows past its limit. Whatever is in an entry's place and cannot be read as one, or whose
hash is another, is logged as a warning and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from posedeploy.paths import file_sha256, whole_folder
from posedeploy.runtime.processes import waiting

LOG = logging.getLogger(__name__)
MANIFEST = "manifest.json"
LOCK_SECONDS = 18000.0  # the last resort of a conversion (poseconform.judge.limits)
SPARED_SECONDS = 1800.0  # longer than any cell takes: another run may still read the entry


@dataclass(frozen=True)
class Entry:
    """One cached folder."""

    path: Path
    key: str  # its content address
    made: bool  # True if this call made it, False if it was there
    facts: Mapping[str, object]  # what the producer returned (JSON)
    files: Mapping[str, tuple[str, int]]  # name -> (sha256, bytes)


@pydantic_dataclass(frozen=True)
class Manifest:
    """What is in an entry; `digest` is the hash of the rest, which damage changes."""

    facts: Mapping[str, Any]
    files: Mapping[str, tuple[str, int]]
    digest: str = ""

    def hashed(self) -> str:
        """What `digest` should be: SHA-256 in hex."""
        text = json.dumps({"facts": self.facts, "files": self.files}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


class CacheError(Exception):
    """The cache's folder cannot be used: which it is, what was found, what to do."""

    def __init__(self, root: Path, error: OSError) -> None:
        super().__init__(root, error)
        self.root, self.error = root, error

    def __str__(self) -> str:
        place = self.error.filename or self.root
        return (
            f"artifact cache {self.root}: found {self.error.strerror or self.error} at {place}; "
            "expected a folder that can be written to. Name another with --artifact-cache, or "
            "make room on its disk."
        )


class DamagedError(Exception):
    """An entry that is not as it was made, and why."""


def content_key(kind: str, parts: Mapping[str, object]) -> str:
    """The address of what is made from `parts`: 'kind-<24 hex digits>'."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def tree_sha256(root: Path, pattern: str = "*.py") -> str:
    """SHA-256 over the files below `root` that match, names included."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob(pattern)):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


class ArtifactCache:
    """Content-addressed folders below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get_or_make(self, key: str, make: Callable[[Path], Mapping[str, object]]) -> Entry:
        """The entry for `key`; `make(folder)` fills it if it is not there or was damaged.

        Whatever `make` raises is passed on, and leaves nothing behind. A CacheError if the cache
        cannot be written to.
        """
        with self._locked(key):
            entry = self.find(key)
            if entry is not None:
                return entry
            with _refused(self.root):
                _clear(self.root / key)
            return self._made(key, make)

    def _made(self, key: str, make: Callable[[Path], Mapping[str, object]]) -> Entry:
        with whole_folder(self.root / key) as staging:
            facts = make(staging)
            with _refused(self.root):
                paths = [p for p in sorted(staging.rglob("*")) if p.is_file()]
                files = {
                    str(p.relative_to(staging)): (file_sha256(p), p.stat().st_size) for p in paths
                }
                content = {"facts": facts, "files": files}
                digest = _MANIFEST.validate_json(json.dumps(content)).hashed()
                text = json.dumps(content | {"digest": digest}, indent=1)
                (staging / MANIFEST).write_text(text, encoding="utf-8")
        return Entry(self.root / key, key, True, facts, files)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the lock of an entry; what is in its file's place and is no file is removed."""
        path = self.root / f"{key}.lock"
        lock = FileLock(path, timeout=LOCK_SECONDS)
        with _refused(self.root), waiting():
            self.root.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except OSError as error:
                readable = path.is_file() and not isinstance(error, PermissionError)
                if isinstance(error, Timeout) or readable or not os.path.lexists(path):
                    raise
                LOG.warning("%s: found %s in the place of a lock; removed", path, _kind(path))
                _clear(path)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def find(self, key: str) -> Entry | None:
        """The entry for `key` if it is there and every file still has its hash."""
        folder = self.root / key
        if not os.path.lexists(folder):
            return None
        try:
            manifest = _read_manifest(folder)
            for name, (sha256, size) in manifest.files.items():
                path = folder / name
                if path.stat().st_size != size or file_sha256(path) != sha256:
                    raise DamagedError(f"{name} is not as it was made")
        except (OSError, DamagedError) as error:
            LOG.warning("%s: %s; it is made again", folder, error)
            return None
        with contextlib.suppress(OSError):  # a disk that can be read from only
            os.utime(folder / MANIFEST)  # `prune` removes what has not been used for longest
        return Entry(folder, key, False, manifest.facts, manifest.files)

    def prune(self, limit_bytes: int) -> int:
        """Remove the entries that were not used for longest until the rest is within the limit.

        What another process holds, and what was used within `SPARED_SECONDS`, stays. Folders that
        a killed process left incomplete go first. Returns how many bytes were removed.
        """
        now = time.time()
        folders = [(_last_used(path), path) for path in self.root.glob("*") if path.is_dir()]
        idle = sorted(folder for folder in folders if now - folder[0] > SPARED_SECONDS)
        incomplete = [folder for folder in idle if folder[1].name.startswith(".")]
        removed = sum(_remove(path) for _, path in incomplete)
        left = _bytes_in(self.root)
        for used, path in (folder for folder in idle if folder not in incomplete):
            if left <= limit_bytes:
                break
            try:
                with FileLock(self.root / f"{path.name}.lock", timeout=0):
                    freed = _remove(path) if _last_used(path) == used else 0
            except Timeout:  # being made or read
                continue
            removed, left = removed + freed, left - freed
        return removed


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not folder.is_dir() or not path.is_file():
        where, what = (path, MANIFEST) if folder.is_dir() else (folder, "a folder")
        raise DamagedError(f"found {_kind(where)} in the place of {what}")
    try:
        manifest = _MANIFEST.validate_json(path.read_bytes())
    except ValidationError as error:
        raise DamagedError(f"{MANIFEST} cannot be read ({error.errors()[0]['msg']})") from error
    if manifest.digest != manifest.hashed():
        raise DamagedError(f"{MANIFEST} is not as it was made")
    return manifest


@contextmanager
def _refused(root: Path) -> Iterator[None]:
    """What the file system refuses is a CacheError."""
    try:
        yield
    except Timeout:
        raise
    except OSError as error:
        raise CacheError(root, error) from error


def _kind(path: Path) -> str:
    """What is in a place, in words."""
    kinds = (("a link", path.is_symlink), ("a folder", path.is_dir), ("a file", path.is_file))
    found = next((word for word, holds in kinds if holds()), "something else")
    return found if os.path.lexists(path) else "nothing"


def _clear(path: Path) -> None:
    """Remove whatever is in a place."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    for parent, folders, _ in os.walk(path):
        for name in folders:
            (Path(parent) / name).chmod(0o700)
    shutil.rmtree(path)


def _last_used(folder: Path) -> float:
    """When, in seconds since the epoch; infinity if another process has removed it."""
    manifest = folder / MANIFEST
    try:
        return (manifest if manifest.is_file() else folder).stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _bytes_in(folder: Path) -> int:
    """Size of all files below a folder, which other processes may be changing."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                size += (Path(parent) / name).stat().st_size
    return size


def _remove(folder: Path) -> int:
    size = _bytes_in(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size - _bytes_in(folder)
