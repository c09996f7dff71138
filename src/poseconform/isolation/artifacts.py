"""The cache of conversions and references: content-addressed folders.

An entry is a folder named by the hash of everything that went into it. It is made once per
machine under a file lock, renamed into place whole, and verified by hash when it is read. A
change of the toolchain changes every key, so what has not been used for longest is removed when
the cache grows past its limit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from posedeploy.paths import file_sha256, whole_folder
from posedeploy.runtime.processes import held

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

        Whatever `make` raises is passed on, and leaves nothing behind.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with held(FileLock(self.root / f"{key}.lock", timeout=LOCK_SECONDS)):
            entry = self.find(key)
            if entry is not None:
                return entry
            with whole_folder(self.root / key) as staging:
                facts = make(staging)
                paths = [p for p in sorted(staging.rglob("*")) if p.is_file()]
                files = {
                    str(p.relative_to(staging)): (file_sha256(p), p.stat().st_size) for p in paths
                }
                text = json.dumps({"facts": facts, "files": files}, indent=1)
                (staging / MANIFEST).write_text(text, encoding="utf-8")
            return Entry(self.root / key, key, True, facts, files)

    def find(self, key: str) -> Entry | None:
        """The entry for `key` if it is there and every file still has its hash."""
        folder = self.root / key
        manifest = folder / MANIFEST
        if not manifest.is_file():
            return None
        data = json.loads(manifest.read_text(encoding="utf-8"))
        files = {name: (str(sha), int(size)) for name, (sha, size) in data["files"].items()}
        for name, (sha256, size) in files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size or file_sha256(path) != sha256:
                return None
        os.utime(manifest)  # `prune` removes what has not been used for longest
        return Entry(folder, key, False, data["facts"], files)

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
