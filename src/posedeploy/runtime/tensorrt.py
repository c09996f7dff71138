"""TensorRT: the probe. Building and running engines is not there yet (see CHANGELOG).

The driver is looked for before the library is touched: without a GPU, TensorRT's Python
package segfaults rather than raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .probing import is_installed, probe_import, run_probe
from .registry import backend_row
from .types import Availability, Code, Session, SessionOptions

# cuInit answers 0, or 100 (CUDA_ERROR_NO_DEVICE): CUDA driver API, section Error Handling.
_CUDA_CHECK = """
import ctypes, sys
try:
    cuda = ctypes.CDLL("libcuda.so.1")
except OSError:
    sys.exit(3)
sys.exit(0 if cuda.cuInit(0) == 0 else 4)
"""


class TensorRT:
    """The `Runtime` of TensorRT."""

    def probe(self) -> Availability:
        if not is_installed("tensorrt"):
            return Availability(
                Code.NOT_INSTALLED, "tensorrt is not installed: python -m pip install tensorrt"
            )
        status, _ = run_probe(_CUDA_CHECK)
        if status == 3:
            return Availability(Code.NO_DRIVER, "libcuda.so.1 is not there: no NVIDIA driver")
        if status != 0:
            return Availability(Code.NO_DEVICE, "the NVIDIA driver found no device (cuInit)")
        return probe_import("tensorrt", ("tensorrt",), backend_row("tensorrt").min_version)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Session:
        del files, device, options
        raise RuntimeError("posedeploy cannot run TensorRT engines yet")


RUNTIME = TensorRT()
