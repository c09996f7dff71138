"""Load a backend file and run it: numpy and the backend, nothing else."""

from posedeploy.runtime.registry import (
    BACKENDS,
    BackendSpec,
    backend_distributions,
    backend_names,
    backend_row,
    backends_by_rank,
    device_of,
    get_runtime,
    model_suffixes,
    probe_on,
)
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    Code,
    ComputePrecision,
    Device,
    FlowPrecision,
    PrecisionError,
    RefusedError,
    Runtime,
    Session,
    SessionOptions,
    StoredPrecision,
    TensorInfo,
)

__all__ = [
    "BACKENDS", "Arrays", "Availability", "BackendSpec", "Code", "ComputePrecision", "Device",
    "FlowPrecision", "PrecisionError", "RefusedError", "Runtime", "Session", "SessionOptions",
    "StoredPrecision", "TensorInfo", "backend_distributions", "backend_names", "backend_row",
    "backends_by_rank", "device_of", "get_runtime", "model_suffixes",
    "probe_on",
]  # fmt: skip
