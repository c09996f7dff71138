"""ONNX Runtime on the CPU and on CUDA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from posedeploy.runtime import onnxruntime_cuda
from posedeploy.runtime.probing import probe_import
from posedeploy.runtime.registry import accepted_device, backend_row
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    SessionOptions,
    TensorInfo,
    as_contiguous,
)

# ONNX Runtime's names of element types -> numpy's
DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def _tensor_info(arg: Any) -> TensorInfo:
    shape = tuple(dim if isinstance(dim, int) else (dim or "?") for dim in arg.shape)
    return TensorInfo(arg.name, shape, DTYPES.get(arg.type, arg.type))


class OnnxRuntimeSession:
    """An `onnxruntime.InferenceSession` behind the `Session` protocol."""

    def __init__(self, session: Any, effective_options: Mapping[str, str]) -> None:
        self._session = session
        self.effective_options = dict(effective_options)
        self.inputs = tuple(_tensor_info(arg) for arg in session.get_inputs())
        self.outputs = tuple(_tensor_info(arg) for arg in session.get_outputs())

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        dtypes = {info.name: info.dtype for info in self.inputs}
        ready = {name: as_contiguous(array, dtypes[name]) for name, array in feed.items()}
        names = [info.name for info in self.outputs]
        return dict(zip(names, self._session.run(names, ready), strict=True))


class OnnxRuntime:
    """The `Runtime` of ONNX Runtime."""

    def probe(self) -> Availability:
        row = backend_row("onnxruntime")
        return probe_import("onnxruntime", row.distributions, row.min_version)

    def probe_device(self, kind: str) -> Availability:
        del kind  # CUDA is the only one besides the CPU
        return onnxruntime_cuda.probe_cuda(self.probe())

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
        providers: list[Any] = [onnxruntime_cuda.CPU]
        if on_cuda:
            getattr(ort, "preload_dlls", lambda: None)()  # those of NVIDIA's wheels, since 1.21
            opts.add_session_config_entry(onnxruntime_cuda.RECORD_PLACEMENT, "1")
            providers = onnxruntime_cuda.providers(target.index, options)
        try:
            session = ort.InferenceSession(str(files[0]), opts, providers=providers)
        except Exception as error:  # ORT's exceptions share no base class but Exception
            raise RuntimeError(f"onnxruntime could not load {files[0].name}: {error}") from error
        effective = {
            **(onnxruntime_cuda.placement(session, options.precision) if on_cuda else {}),
            "providers": ",".join(session.get_providers()),
            "intra_op_num_threads": str(options.threads),
            "inference_precision": options.precision,
        }
        return OnnxRuntimeSession(session, effective)


RUNTIME = OnnxRuntime()
