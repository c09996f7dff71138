"""ONNX Runtime's options on CUDA, and those that it reports afterwards.

Its defaults are not taken: TF32 is on, and the CPU silently replaces a provider that does not load
or has no kernel for a node.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from typing import Any

from posedeploy.runtime.cuda_device import cuda_devices
from posedeploy.runtime.probing import DEVICE_SECONDS, distribution_version, probe_import, too_old
from posedeploy.runtime.registry import backend_row
from posedeploy.runtime.types import Availability, Code, SessionOptions

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"  # read since 1.24, else ignored
# A graph of one Relu over float32 [1], opset 13: CUDA works if it runs there
_RELU = (
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a020801620f0a0179"
    "120a0a08080112040a02080142040a00100d"
)
_CHECK = f"""
import numpy
getattr(onnxruntime, "preload_dlls", lambda: None)()
assert "{CUDA}" in onnxruntime.get_available_providers(), "it was built without CUDA"
session = onnxruntime.InferenceSession(bytes.fromhex("{_RELU}"), providers=["{CUDA}"])
assert session.get_providers()[0] == "{CUDA}", "its CUDA provider does not load"
session.run(None, dict(x=numpy.ones(1, numpy.float32)))
"""


def probe_cuda(on_cpu: Availability) -> Availability:
    """Whether ONNX Runtime can run on CUDA here, given what the probe for the CPU found."""
    if not on_cpu.ok:
        return on_cpu
    devices = cuda_devices()
    if not devices.ok:
        return Availability(devices.code, devices.reason, on_cpu.version)
    if not distribution_version("onnxruntime-gpu"):
        reason = "onnxruntime computes on the CPU only: python -m pip install onnxruntime-gpu"
        return Availability(Code.TOOL_MISSING, reason, on_cpu.version)
    needed = needed_cuda()
    if needed and too_old(devices.driver, needed):
        reason = f"the driver runs CUDA {devices.driver}; this onnxruntime-gpu needs {needed}"
        return Availability(Code.VERSION_TOO_OLD, reason, on_cpu.version)
    oldest = backend_row("onnxruntime").min_version
    return probe_import("onnxruntime", ("onnxruntime-gpu",), oldest, _CHECK, DEVICE_SECONDS)


def needed_cuda() -> str:
    """The CUDA version that onnxruntime-gpu is built for; '' if its package does not name one.

    Its extra `cuda` asks for `nvidia-cuda-runtime~=13.0`, or `nvidia-cuda-runtime-cu12~=12.0`.
    """
    wheels = " ".join(importlib.metadata.requires("onnxruntime-gpu") or ())
    found = re.search(r"nvidia-cuda-runtime[^~=]*~=\s*(\d+\.\d+)", wheels)
    return found[1] if found else ""


def providers(number: int, options: SessionOptions) -> list[Any]:
    """CUDA first, with TF32 off in fp32; the CPU for nodes without a CUDA kernel."""
    tf32 = "0" if options.precision == "fp32" else "1"
    return [(CUDA, {"device_id": str(number), "use_tf32": tf32}), CPU]


def placement(session: Any, precision: str) -> dict[str, str]:
    """The options in force, and the nodes on the CPU: 'NonMaxSuppression 1, Shape 2', or 'none'.

    Raises:
        RuntimeError: It runs on the CPU after all, or in TF32 where float32 was asked for.
    """
    found = session.get_providers()
    if found[0] != CUDA:
        raise RuntimeError(f"onnxruntime fell back from {CUDA} to {found[0]}")
    options = session.get_provider_options()[CUDA]
    effective = {
        "device_id": str(options.get("device_id", "?")),
        "tf32": str(options.get("use_tf32")),
    }
    if precision == "fp32" and effective["tf32"] != "0":
        raise RuntimeError("onnxruntime computes in TF32 on CUDA although it is switched off")
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return effective | {"nodes_on_cpu": "unknown"}
    left = Counter(
        node.op_type
        for part in session.get_provider_graph_assignment_info()
        if part.ep_name == CPU
        for node in part.get_nodes()
    )
    listed = ", ".join(f"{kind} {count}" for kind, count in sorted(left.items()))
    return effective | {"nodes_on_cpu": listed or "none"}
