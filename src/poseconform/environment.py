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
    """Machine, system, Python, packages, threads, seeds, backends probed, git commit."""
    return {
        "cpu": cpu_facts(),
        **gpu_facts(),
        "os": {"system": platform.platform(), "libc": " ".join(platform.libc_ver())},
        "python": sys.version.split()[0],
        "packages": versions((*PACKAGES, *MORE_PACKAGES)),
        "threads": {"backend": 1, "torch": 1},
        "seeds": {"weights": 0},  # the zoo's default; nothing else in a run is drawn at random
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


def gpu_facts() -> dict[str, str]:
    """Names of the NVIDIA devices and their driver, or that `nvidia-smi` shows none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    rows = [line.rpartition(", ") for line in _answer(query).splitlines() if ", " in line]
    if not rows:
        return {"gpu": "none"}
    return {"gpu": "; ".join(name for name, _, _ in rows), "driver": rows[0][2]}


def git_commit(folder: Path) -> str:
    """Commit of the checkout `folder` is in, with '+' if it has changes; '' outside of one."""
    return _answer(["git", "describe", "--always", "--abbrev=12", "--dirty=+"], folder)


def _answer(command: list[str], folder: Path | None = None) -> str:
    """What a program found on PATH prints; '' if it is not there, fails or hangs."""
    try:
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
