"""The machine, as far as a number that was measured on it depends on it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from posedeploy.runtime.processes import Limit, OutOfTimeError, run_program

# ISA flags that change which kernels run, and so how results round.
ISA_FLAGS = (
    "avx2", "avx512f", "avx512_fp16", "avx512_bf16", "avx_ne_convert", "amx_tile", "amx_bf16",
    "bf16", "f16c", "fma",
)  # fmt: skip
# git and nvidia-smi answer within a second of CPU; a GPU that was asleep takes tens of seconds
PROGRAM_LIMIT = Limit(10.0)


def cpu_facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """Model name, count and the ISA flags that matter, as far as the system reports them."""
    facts: dict[str, Any] = {"count": os.cpu_count(), "machine": platform.machine()}
    if fields := _fields(cpuinfo):
        flags = _flags(fields)
        facts["model"] = fields.get("model name", "unknown")
        facts["isa"] = " ".join(flag for flag in ISA_FLAGS if flag in flags)
    return facts


def cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str] | None:
    """The CPU's features in Linux's words; None where the system does not list them."""
    fields = _fields(cpuinfo)
    return _flags(fields) if fields else None


def _fields(cpuinfo: Path) -> dict[str, str]:
    """What Linux writes on the first CPU; nothing on other systems."""
    if not cpuinfo.is_file():
        return {}
    first = cpuinfo.read_text(encoding="utf-8").split("\n\n", maxsplit=1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flags(fields: Mapping[str, str]) -> frozenset[str]:
    return frozenset(fields.get("flags", fields.get("Features", "")).split())


def gpu_facts() -> dict[str, str]:
    """Names of the NVIDIA devices and their driver, or that `nvidia-smi` shows none."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    rows = [line.rpartition(", ") for line in program_output(query).splitlines() if ", " in line]
    if not rows:
        return {"gpu": "none"}
    return {"gpu": "; ".join(name for name, _, _ in rows), "driver": rows[0][2]}


def program_output(command: list[str], folder: Path | None = None) -> str:
    """What a program found on PATH prints; '' if it is not there, fails or hangs."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        run = run_program(command, PROGRAM_LIMIT, folder)
    except (OSError, OutOfTimeError):
        return ""
    return run.stdout.strip() if run.status == 0 else ""
