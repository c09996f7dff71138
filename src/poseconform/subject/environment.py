"""The fingerprint of a run: machine, system and packages that a result depends on."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from poseconform.subject.availability import Availabilities
from posedeploy.runtime import backend_distributions
from posedeploy.runtime.machine import cpu_facts, gpu_facts, program_output

# Packages of the judge itself; those of the implementation under test are the subject's.
PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "scipy", *backend_distributions())


def fingerprint(availabilities: Availabilities, weights_seed: int = 0) -> dict[str, Any]:
    """Machine, system, Python, packages, threads, seeds, backends probed, git commit."""
    return {
        "cpu": cpu_facts(),
        **gpu_facts(),
        "os": {"system": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "python": sys.version.split()[0],
        "packages": {**availabilities.subject.versions(), **package_versions(PACKAGES)},
        "threads": {"backend": 1, "torch": 1},
        "seeds": {"weights": weights_seed},  # nothing else in a run is drawn at random
        "backends": {
            name: f"{value.code} {value.version}".strip()
            for name, value in sorted(availabilities.probed.items())
        },
        "git": git_commit(Path.cwd()),
    }


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Version of each package that is installed."""
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit(folder: Path) -> str:
    """Commit of the checkout `folder` is in, with '+' if it has changes; '' outside of one."""
    return program_output(["git", "describe", "--always", "--abbrev=12", "--dirty=+"], folder)
