"""ONNX Runtime on the CPU and on CUDA.

Its defaults for CUDA are not taken: TF32 is on, and the CPU silently replaces a provider that does
not load or has no kernel for a node.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from posedeploy.runtime.host import DEVICE_SECONDS, HOST, Host
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, Code, SessionOptions, TensorInfo

# ONNX Runtime's names of element types -> numpy's
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64",
          "tensor(int64)": "int64", "tensor(int32)": "int32", "tensor(uint8)": "uint8",
          "tensor(bool)": "bool"}  # fmt: skip
CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
# Besides QuantizeLinear and DequantizeLinear of 8 bits, CUDA has no kernels for int8: layers and
# biases in int32 would fall back to the CPU (ONNX Runtime's docs/OperatorKernels.md). With this,
# weights and biases are dequantized as a session is made, and float32 layers compute in between.
NO_INT8_LAYERS = "session.disable_quant_qdq"
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


def _tensor_info(arg: Any) -> TensorInfo:
    shape = tuple(dim if isinstance(dim, int) else (dim or "?") for dim in arg.shape)
    return TensorInfo(arg.name, shape, DTYPES.get(arg.type, arg.type))


class OnnxRuntimeSession:
    """An `onnxruntime.InferenceSession` behind the `Session` protocol.

    Threads may call its `Run` at the same time, as its C API says (`OrtApi::Run`).
    """

    def __init__(self, session: Any, effective_options: Mapping[str, str]) -> None:
        self._session = session
        self.effective_options = dict(effective_options)
        self.inputs = tuple(_tensor_info(arg) for arg in session.get_inputs())
        self.outputs = tuple(_tensor_info(arg) for arg in session.get_outputs())

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        names = [info.name for info in self.outputs]
        results = self._session.run(names, as_declared(feed, self.inputs))
        return dict(zip(names, results, strict=True))


@dataclass(frozen=True)
class OnnxRuntime:
    """The `Runtime` of ONNX Runtime."""

    host: Host = HOST
    requirements: Iterable[str] | None = None  # of onnxruntime-gpu; None reads the installed one's

    def probe(self) -> Availability:
        row = backend_row("onnxruntime")
        return self.host.probe_import("onnxruntime", row.distributions, row.min_version)

    def probe_device(self, kind: str) -> Availability:
        """Whether it can run on CUDA, the only kind besides the CPU."""
        del kind
        availability = self.host.probe_cuda(self.probe(), "onnxruntime-gpu")
        if not availability.ok:
            return availability
        if not self.host.version("onnxruntime-gpu"):
            reason = "onnxruntime computes on the CPU only: python -m pip install onnxruntime-gpu"
            return Availability(Code.TOOL_MISSING, reason, availability.version)
        requirements = self.requirements
        if requirements is None:
            requirements = importlib.metadata.requires("onnxruntime-gpu") or ()
        needed = needed_cuda(requirements)
        availability = self.host.probe_cuda(availability, "onnxruntime-gpu", needed)
        if not availability.ok:
            return availability
        oldest = backend_row("onnxruntime").min_version
        return self.host.probe_import(
            "onnxruntime", ("onnxruntime-gpu",), oldest, on_device=_CHECK, seconds=DEVICE_SECONDS
        )

    def load(
        self, files: Sequence[Path], device: str, options: SessionOptions
    ) -> OnnxRuntimeSession:
        import onnxruntime as ort

        target = accepted_device("onnxruntime", device)
        on_cuda = target.kind == "cuda"
        opts = ort.SessionOptions()
        opts.intra_op_num_threads = options.threads
        opts.inter_op_num_threads = 1
        opts.log_severity_level = 3
        providers: list[Any] = [CPU]
        if on_cuda:
            getattr(ort, "preload_dlls", lambda: None)()  # those of NVIDIA's wheels, since 1.21
            opts.add_session_config_entry(RECORD_PLACEMENT, "1")
            if options.precision == "int8":
                opts.add_session_config_entry(NO_INT8_LAYERS, "1")
            providers.insert(0, (CUDA, cuda_options(target.index, options.precision)))
        try:
            session = ort.InferenceSession(str(files[0]), opts, providers=providers)
        except Exception as error:  # ORT's exceptions share no base class but Exception
            raise RuntimeError(f"onnxruntime could not load {files[0].name}: {error}") from error
        effective = {
            **(_placement(session, options.precision, target.index) if on_cuda else {}),
            "providers": ",".join(session.get_providers()),
            "intra_op_num_threads": str(options.threads),
            "inference_precision": options.precision,
        }
        return OnnxRuntimeSession(session, effective)


def cuda_options(device: int, precision: str) -> dict[str, str]:
    """Options of the CUDA provider: TF32 is for fp16 alone.

    Device 0 is its default and is not named: from 1.26 on, a named one is looked up among the
    devices of plugins, of which its wheels have none, with a warning at each session
    (`CreateExecutionProviderFactoryInstance`).
    """
    tf32 = "1" if precision == "fp16" else "0"
    return {"use_tf32": tf32, **({"device_id": str(device)} if device else {})}


def needed_cuda(requirements: Iterable[str]) -> str:
    """The CUDA version that onnxruntime-gpu is built for; '' if its requirements name none.

    Its extra `cuda` asks for `nvidia-cuda-runtime~=13.0`, or `nvidia-cuda-runtime-cu12~=12.0`.
    """
    match = re.search(r"nvidia-cuda-runtime[^~=]*~=\s*(\d+\.\d+)", " ".join(requirements))
    return match[1] if match else ""


def _placement(session: Any, precision: str, index: int) -> dict[str, str]:
    """The options in force, and the nodes on the CPU: 'NonMaxSuppression 1, Shape 2', or 'none'.

    Raises:
        RuntimeError: It runs on the CPU after all, on another device than `index`, or in TF32
            where float32 was asked for.
    """
    first = session.get_providers()[0]
    if first != CUDA:
        raise RuntimeError(f"onnxruntime fell back from {CUDA} to {first}")
    options = session.get_provider_options()[CUDA]
    device, tf32 = str(options.get("device_id", "?")), str(options.get("use_tf32"))
    effective = {"device_id": device, "tf32": tf32}
    if device != str(index):
        raise RuntimeError(f"onnxruntime runs on CUDA device {device}, not on {index}")
    if precision != "fp16" and tf32 != "0":
        raise RuntimeError("onnxruntime computes in TF32 on CUDA although it is switched off")
    if precision == "int8":
        effective["int8_layers"] = "rounded to 8 bits, computed in float32"
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


RUNTIME = OnnxRuntime()
