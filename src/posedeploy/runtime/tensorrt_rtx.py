"""TensorRT for RTX: engines that were built on any machine, and are finished on the device.

`posedeploy.runtime.tensorrt` runs them, through NVIDIA's other binding.  The kernels that it
compiles on the device are kept in NVIDIA's runtime cache, so that the next session need not.
"""

from __future__ import annotations

from posedeploy.runtime.tensorrt import Binding, TensorRT

# `ComputeCapability` of tensorrt_rtx_bindings 1.7.1: it has no kernels for 9.0 and 10.0
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")
RTX = Binding(
    "tensorrt-rtx",
    "TensorRT for RTX",
    "tensorrt_rtx_bindings",
    {"tensorrt-rtx-cu13-bindings": "13.0", "tensorrt-rtx-cu12-bindings": "12.0"},
    "'posedeploy[tensorrt-rtx]'",
    CAPABILITIES,
    "tensorrt_rtx",
)
RUNTIME = TensorRT(binding=RTX)
