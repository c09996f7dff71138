"""Load a backend file and run it: numpy and the backend, nothing else."""

from posedeploy.runtime.registry import (
    BACKENDS,
    BackendRow,
    backend_names,
    backend_row,
    device_of,
    get_runtime,
    probe_on,
)
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    Code,
    PrecisionError,
    Runtime,
    Session,
    SessionOptions,
    TensorInfo,
)

__all__ = [
    "BACKENDS",
    "Arrays",
    "Availability",
    "BackendRow",
    "Code",
    "PrecisionError",
    "Runtime",
    "Session",
    "SessionOptions",
    "TensorInfo",
    "backend_names",
    "backend_row",
    "device_of",
    "get_runtime",
    "probe_on",
]
