"""The fingerprint of a run: what a number depends on and cannot be seen in it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from .availability import Availabilities
from .implementations import PACKAGES, versions

# ISA flags that change which kernels run, and so how results round.
ISA_FLAGS = (
    "avx2", "avx512f", "avx512_fp16", "avx512_bf16", "amx_tile", "amx_bf16", "f16c", "fma",
)  # fmt: skip
MORE_PACKAGES = ("pytest", "pytest-xdist", "hypothesis", "scipy", "openvino", "ncnn", "tensorrt")


def fingerprint(availabilities: Availabilities) -> dict[str, Any]:
    """Machine, system, Python, packages, threads, backends probed, git commit."""
    return {
        "cpu": cpu_facts(),
        "os": {"system": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "python": sys.version.split()[0],
        "packages": versions((*PACKAGES, *MORE_PACKAGES)),
        "threads": {"backend": 1, "torch": 1},
        "backends": {
            name: f"{value.code} {value.version}".strip()
            for name, value in sorted(availabilities.known.items())
        },
        "git": git_commit(Path.cwd()),
    }


def cpu_facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Model name, count and the ISA flags that matter, as far as the system tells them."""
    facts: dict[str, Any] = {"count": os.cpu_count(), "machine": platform.machine()}
    if cpuinfo.is_file():
        first = cpuinfo.read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0]
        pairs = (line.partition(":") for line in first.splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        flags = set(fields.get("flags", fields.get("Features", "")).split())
        facts["model"] = fields.get("model name", "unknown")
        facts["isa"] = " ".join(flag for flag in ISA_FLAGS if flag in flags)
    return facts


def git_commit(folder: Path) -> str:
    """Commit of the checkout `folder` is in, with '+' if it has changes; '' outside of one."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607 - git is found on PATH
            cwd=folder, capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
