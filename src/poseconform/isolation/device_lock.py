"""One process at a time on a GPU: xdist's workers share it, and so do runs side by side.

Exports and conversions go on in the meantime, on the CPU or as the builder likes; what is guarded
is loading and running, which hold device memory and are timed.
"""

from __future__ import annotations

import getpass
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

# A cell holds it for at most its limits of loading and running; many workers may queue.
LOCK_SECONDS = 3600.0


def lock_path(device: str) -> Path:
    """The lock file of a device: one a user and machine."""
    name = device.replace(":", "-")
    return Path(tempfile.gettempdir()) / f"poseconform-{getpass.getuser()}-{name}.lock"


@contextmanager
def device_lock(device: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold a device for the block; the CPU is everybody's.

    Args:
        device: 'cpu', 'cuda', 'cuda:1', ….
        seconds: How long to wait for it.

    Raises:
        filelock.Timeout: Somebody else held it all that time.
    """
    if device.split(":", maxsplit=1)[0] == "cpu":
        yield
        return
    with FileLock(lock_path(device), timeout=seconds):
        yield
