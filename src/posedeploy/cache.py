"""Where the toolchain keeps what it may throw away."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "POSEDEPLOY_CACHE"


def cache_dir() -> Path:
    """`$POSEDEPLOY_CACHE`, or else `posedeploy` in the user's cache folder (XDG's rule)."""
    if os.environ.get(CACHE_VARIABLE):
        return Path(os.environ[CACHE_VARIABLE])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "posedeploy"
