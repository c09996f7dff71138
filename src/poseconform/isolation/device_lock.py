"""One process at a time loads and runs on a GPU, which xdist's workers and other runs share."""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from posedeploy.runtime import Device

# A cell holds it for at most its limits of loading and running, which on a busy machine are hours;
# many workers may queue.
LOCK_SECONDS = 36000.0


def lock_path(device: Device) -> Path:
    """The lock file of a device: one a user and machine."""
    name = f"poseconform-{getpass.getuser()}-{device.kind}-{device.index}.lock"
    return Path(tempfile.gettempdir()) / name


@contextmanager
def device_lock(device: Device, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a device for the block; the CPU is not locked.

    A `filelock.Timeout` if another process holds it for so many seconds.
    """
    if device.kind == "cpu":
        yield
        return
    with FileLock(lock_path(device), timeout=seconds):
        yield
