"""The NVIDIA driver and its devices as a value, queried once a process, in a child process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from posedeploy.runtime.probing import ended, run_probe
from posedeploy.runtime.types import Code

_SCRIPT = Path(__file__).with_name("cuda_probe.py")


@dataclass(frozen=True)
class CudaDevice:
    """One device.

    Attributes:
        name: The driver's name of it.
        compute_capability: 'major.minor'.
    """

    name: str
    compute_capability: str


@dataclass(frozen=True)
class CudaDevices:
    """The driver and the devices that it reports.

    Attributes:
        code: `AVAILABLE`, `NO_DRIVER` or `NO_DEVICE`.
        reason: One line for a person; empty when available.
        driver: Newest CUDA version that the driver runs, '' if there is none.
        devices: The devices, in CUDA's order.
    """

    code: Code
    reason: str = ""
    driver: str = ""
    devices: tuple[CudaDevice, ...] = ()

    @property
    def ok(self) -> bool:
        """True if there is a device."""
        return self.code is Code.AVAILABLE


@cache
def cuda_devices() -> CudaDevices:
    """Query the driver. Never raises; loads no native library in this process."""
    return read_answer(
        *run_probe(f"import runpy; runpy.run_path({str(_SCRIPT)!r}, None, '__main__')")
    )


def read_answer(status: int, line: str) -> CudaDevices:
    """The value of the script's result: its exit status and its last line."""
    if status != 0:
        reason = f"asking the NVIDIA driver failed ({ended(status)}): {line}"
        return CudaDevices(Code.NO_DRIVER, reason)
    answer = json.loads(line)
    devices = tuple(CudaDevice(**device) for device in answer["devices"])
    return CudaDevices(Code(answer["code"]), answer["reason"], answer["driver"], devices)
