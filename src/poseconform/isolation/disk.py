"""Room on the disk: the cache stays within its limit, and a full disk is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from poseconform.isolation.artifacts import ArtifactCache

GB = 1_000_000_000
# Enough for export, conversion and reference of most models (the hourglass's files have 375 MB
# each); on a full disk every cell fails, each at another stage.
LEAST_FREE_BYTES = GB // 2


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder is on."""
    return shutil.disk_usage(folder).free


def make_room(cache: Path, limit_gb: int, free: Callable[[Path], int] = free_bytes) -> None:
    """Bring the cache within its limit, and see that its disk has room.

    Args:
        cache: Its folder; it need not exist.
        limit_gb: Its limit, GB (10^9 bytes).
        free: Gives the room on the disk that a folder is on.

    Raises:
        pytest.UsageError: Less is free than one cell needs.
    """
    if cache.is_dir():
        ArtifactCache(cache).prune(limit_gb * GB)
    there = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    left = free(there)
    if left < LEAST_FREE_BYTES:
        raise pytest.UsageError(
            f"--artifact-cache {cache}: found {left / GB:.2f} GB free on its disk; expected at "
            f"least {LEAST_FREE_BYTES / GB:g} GB. Remove the folder (it is a cache), lower "
            "--artifact-cache-limit, or name a folder on another disk."
        )
