"""Whether TensorRT can run here.

The driver is queried before the library is loaded: without a GPU, TensorRT's Python package
segfaults instead of raising.  The library itself is tried in a child process.
"""

from __future__ import annotations

import sys

from posedeploy.runtime.cuda_device import cuda_devices
from posedeploy.runtime.probing import (
    DEVICE_SECONDS,
    distribution_version,
    ended,
    is_installed,
    run_probe,
    too_old,
)
from posedeploy.runtime.registry import backend_row
from posedeploy.runtime.types import Availability, Code

SYSTEMS = ("linux", "win32")  # NVIDIA publishes it for no other
# Distributions that bring `import tensorrt`, and the CUDA that their driver must run at least
DISTRIBUTIONS = {"tensorrt-cu13": "13.0", "tensorrt-cu12": "12.0", "tensorrt": ""}
_CHECK = """
from posedeploy.runtime.tensorrt.runtime import prepare_process, use_device
prepare_process()
import tensorrt
import polygraphy.backend.trt
use_device(0)
tensorrt.Builder(tensorrt.Logger(tensorrt.Logger.ERROR))
"""


def probe() -> Availability:
    """Checks from the cheapest to the most expensive; the first one that fails is the answer."""
    if sys.platform not in SYSTEMS:
        return Availability(Code.WRONG_OS, f"there is no TensorRT for {sys.platform}")
    missing = next((m for m in ("tensorrt", "polygraphy") if not is_installed(m)), "")
    if missing:
        reason = f"{missing} is not installed: python -m pip install {missing}"
        return Availability(Code.NOT_INSTALLED, reason)
    version = distribution_version(*DISTRIBUTIONS)
    minimum = backend_row("tensorrt").min_version
    if version and too_old(version, minimum):
        reason = f"tensorrt {version} is older than {minimum}"
        return Availability(Code.VERSION_TOO_OLD, reason, version)
    found = cuda_devices()
    if not found.ok:
        return Availability(found.code, found.reason, version)
    needed = needed_cuda()
    if needed and too_old(found.driver, needed):
        reason = f"the driver runs CUDA {found.driver}; this TensorRT needs {needed}"
        return Availability(Code.VERSION_TOO_OLD, reason, version)
    return _try_it(version)


def needed_cuda() -> str:
    """The oldest CUDA version that the driver must run; '' if no package is installed."""
    return next((cuda for name, cuda in DISTRIBUTIONS.items() if distribution_version(name)), "")


def _try_it(version: str) -> Availability:
    status, line = run_probe(_CHECK, DEVICE_SECONDS)
    if status == 0:
        return Availability(Code.AVAILABLE, "", version)
    reason = f"TensorRT does not start ({ended(status)}): {line}"
    return Availability(Code.BROKEN_INSTALL, reason, version)


def target() -> dict[str, str]:
    """What of this machine an engine is tied to; nothing where there is no device.

    Engines run on the TensorRT version and the kind of device that built them (TensorRT's
    support matrix); a cache of engines has to tell them apart.
    """
    devices = cuda_devices().devices
    if not devices:
        return {}
    return {
        "compute_capability": devices[0].compute_capability,
        "device": devices[0].name,
        "tensorrt": distribution_version(*DISTRIBUTIONS),
    }
