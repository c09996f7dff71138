"""Pieces that probes are made of. None of them raises."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys

from packaging.version import InvalidVersion, Version

PROBE_SECONDS = 60.0
# What runs on a GPU loads gigabytes of libraries the first time, and makes a context on the device
DEVICE_SECONDS = 240.0


def is_installed(module: str) -> bool:
    """True if a top-level module can be found, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def distribution_version(*distributions: str) -> str:
    """Version of the first of these distributions that is installed, '' if none is."""
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def too_old(version: str, minimum: str) -> bool:
    """True if `version` is a readable version below `minimum`."""
    try:
        return Version(version) < Version(minimum)
    except InvalidVersion:
        return False


def run_probe(code: str, seconds: float = PROBE_SECONDS) -> tuple[int, str]:
    """Run Python code in a child process, for native libraries may crash on import.

    Returns:
        The exit status (negative: killed by that signal; 124: ran out of time) and the last
        line that it printed.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, f"no answer within {seconds:g} s"
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    return done.returncode, lines[-1].strip() if lines else ""


def ended(status: int) -> str:
    """How a child process ended, by its exit status."""
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
