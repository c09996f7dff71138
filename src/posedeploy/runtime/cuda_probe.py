"""A script that prints the CUDA driver's version and devices as one line of JSON.

It is run in a child process, by path, with the standard library alone: a driver that does not fit
its kernel module may crash or hang.  It uses the driver API, which obeys CUDA_VISIBLE_DEVICES and
MIG; NVML does not, and fails in slices of a GPU.

Functions, error codes and attributes are those of NVIDIA's CUDA Driver API reference.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUresult: a stub in place of the driver, a kernel module of another version, and a compatibility
# package that the device does not take
DRIVER_ERRORS = (34, 803, 804)
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
NAME_BYTES = 256


def ask(cuda: Any) -> dict[str, Any]:
    """The driver's version, and its devices, as the fields of `host.CudaDevices`."""
    version, count = ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
    answer: dict[str, Any] = {"code": "available", "reason": "", "driver": driver, "devices": []}
    status = int(cuda.cuInit(0)) or int(cuda.cuDeviceGetCount(ctypes.byref(count)))
    if status != 0:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(status, ctypes.byref(text))
        error = f"{(text.value or b'unknown error').decode()} (error {status})"
        code = "no-driver" if status in DRIVER_ERRORS else "no-device"
        return answer | {"code": code, "reason": f"the driver reports: {error}"}
    if count.value == 0:
        return answer | {"code": "no-device", "reason": "the driver shows no device"}
    answer["devices"] = [_device(cuda, index) for index in range(count.value)]
    return answer


def _device(cuda: Any, index: int) -> dict[str, str]:
    device, major, minor = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    name = ctypes.create_string_buffer(NAME_BYTES)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, NAME_BYTES, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    return {
        "name": name.value.decode(errors="replace"),
        "compute_capability": f"{major.value}.{minor.value}",
    }


def main(library: str = LIBRARY) -> None:
    """Load the driver and print its answer."""
    try:
        answer = ask(ctypes.CDLL(library))
    except OSError as error:
        reason = f"no NVIDIA driver: {error}"
        answer = {"code": "no-driver", "reason": reason, "driver": "", "devices": []}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
