"""Pieces that probes are made of. None of them raises."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys

from packaging.version import InvalidVersion, Version

from posedeploy.runtime.types import Availability, Code

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


def probe_import(
    module: str,
    distributions: tuple[str, ...],
    min_version: str,
    check: str = "",
    seconds: float = PROBE_SECONDS,
) -> Availability:
    """The probe most backends need: found, new enough, imports in a child process.

    Args:
        module: Module to import in the child.
        distributions: Names under which it may be installed; the first found gives the version.
        min_version: Oldest version supported.
        check: More Python code for the child; it fails the probe by raising.
        seconds: How long the child may take.
    """
    if not is_installed(module):
        return Availability(
            Code.NOT_INSTALLED, f"{module} is not installed: python -m pip install {module}"
        )
    version = distribution_version(*distributions)
    if version and too_old(version, min_version):
        reason = f"{module} {version} is older than {min_version}"
        return Availability(Code.VERSION_TOO_OLD, reason, version)
    status, line = run_probe(f"import {module}\n{check}", seconds)
    if status != 0:
        reason = f"import {module} failed ({ended(status)}): {line}"
        return Availability(Code.BROKEN_INSTALL, reason, version)
    return Availability(Code.AVAILABLE, "", version)
