"""The NVIDIA driver is queried in a child process; each of its answers becomes one code."""

from __future__ import annotations

import ctypes
import json
from typing import Any

import pytest

from posedeploy.runtime import Code, cuda_probe
from posedeploy.runtime.host import (
    OUT_OF_TIME,
    CudaDevice,
    CudaDevices,
    cuda_devices,
    query_driver,
)  # fmt: skip


class Driver:
    """A `libcuda` with the functions of the CUDA driver API that the probe calls.

    Args:
        init: What cuInit answers.
        count: What cuDeviceGetCount answers.
        devices: Names of the devices; all have compute capability 9.0.
    """

    def __init__(
        self, init: int = 0, count: int = 0, devices: tuple[str, ...] = ("H200",)
    ) -> None:
        self.init, self.count, self.devices = init, count, devices

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 - NVIDIA's names
        version._obj.value = 12040
        return 0

    def cuInit(self, flags: int) -> int:  # noqa: N802
        assert flags == 0
        return self.init

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = len(self.devices)
        return self.count

    def cuDeviceGet(self, device: Any, index: int) -> int:  # noqa: N802
        device._obj.value = 100 + index
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> int:  # noqa: N802
        assert size == ctypes.sizeof(name)
        name.value = self.devices[device.value - 100].encode()
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        assert device.value >= 100
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0

    def cuGetErrorString(self, status: int, text: Any) -> int:  # noqa: N802
        text._obj.value = b"what went wrong" if status != 77 else None
        return 0


def read(status: int, line: str) -> CudaDevices:
    """The value of a script that ends with this status and this last line."""
    return query_driver(lambda _code: (status, line))


def test_devices_have_a_name_and_a_compute_capability() -> None:
    answer = cuda_probe.ask(Driver(devices=("H200", "L4")))
    found = read(0, json.dumps(answer))
    assert found == CudaDevices(
        Code.AVAILABLE, "", "12.4", (CudaDevice("H200", "9.0"), CudaDevice("L4", "9.0"))
    )


@pytest.mark.parametrize(
    ("driver", "code", "reason"),
    [
        (Driver(init=100), Code.NO_DEVICE, "the driver reports: what went wrong (error 100)"),
        (Driver(init=803), Code.NO_DRIVER, "the driver reports: what went wrong (error 803)"),
        (Driver(init=77), Code.NO_DEVICE, "the driver reports: unknown error (error 77)"),
        (Driver(count=3), Code.NO_DEVICE, "the driver reports: what went wrong (error 3)"),
        (Driver(devices=()), Code.NO_DEVICE, "the driver shows no device"),
    ],
)
def test_a_driver_without_devices_says_why(driver: Driver, code: Code, reason: str) -> None:
    found = read(0, json.dumps(cuda_probe.ask(driver)))
    assert (found.code, found.reason, found.devices) == (code, reason, ())


def test_without_the_library_there_is_no_driver(capsys: pytest.CaptureFixture[str]) -> None:
    cuda_probe.main("libnothing-of-this-name.so.1")
    found = read(0, capsys.readouterr().out)
    assert found.code is Code.NO_DRIVER
    assert "libnothing-of-this-name.so.1" in found.reason


@pytest.mark.parametrize(
    ("status", "code", "how"),
    [
        (-11, Code.NO_DRIVER, "failed (killed by signal 11)"),
        (OUT_OF_TIME, Code.PROBE_TIMEOUT, "did not end"),
    ],
)
def test_a_driver_that_crashes_is_none_and_one_that_hangs_did_not_answer(
    status: int, code: Code, how: str
) -> None:
    found = read(status, "the last line")
    assert (found.code, found.reason) == (code, f"asking the NVIDIA driver {how}: the last line")


def test_the_script_runs_by_path_with_nothing_but_the_standard_library() -> None:
    found = query_driver()
    assert "failed" not in found.reason
    assert found.code in {Code.AVAILABLE, Code.NO_DEVICE, Code.NO_DRIVER}
    assert (found.code is Code.AVAILABLE) == bool(found.devices)


def test_the_driver_is_queried_once_a_process() -> None:
    assert cuda_devices() is cuda_devices()
