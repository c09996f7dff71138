"""The fingerprint of a run: what a number depends on and cannot be seen in it."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Any

from poseconform.subject.availability import Availabilities
from poseconform.subject.posedeploy_subject import PACKAGES, versions
from posedeploy.runtime.machine import cpu_facts, gpu_facts, program_output

MORE_PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "scipy", "openvino", "ncnn", "tensorrt")


def fingerprint(availabilities: Availabilities, weights_seed: int = 0) -> dict[str, Any]:
    """Machine, system, Python, packages, threads, seeds, backends probed, git commit."""
    return {
        "cpu": cpu_facts(),
        **gpu_facts(),
        "os": {"system": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "python": sys.version.split()[0],
        "packages": versions((*PACKAGES, *MORE_PACKAGES)),
        "threads": {"backend": 1, "torch": 1},
        "seeds": {"weights": weights_seed},  # nothing else in a run is drawn at random
        "backends": {
            name: f"{value.code} {value.version}".strip()
            for name, value in sorted(availabilities.known.items())
        },
        "git": git_commit(Path.cwd()),
    }


def git_commit(folder: Path) -> str:
    """Commit of the checkout `folder` is in, with '+' if it has changes; '' outside of one."""
    return program_output(["git", "describe", "--always", "--abbrev=12", "--dirty=+"], folder)
