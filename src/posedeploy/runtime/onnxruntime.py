"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .probing import probe_import
from .registry import backend_row
from .types import Arrays, Availability, SessionOptions, TensorInfo, as_contiguous

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
PROVIDERS = {"cpu": "CPUExecutionProvider"}


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
        return probe_import("onnxruntime", ("onnxruntime", "onnxruntime-gpu"), row.min_version)

    def load(
        self, files: Sequence[Path], device: str, options: SessionOptions
    ) -> OnnxRuntimeSession:
        import onnxruntime as ort

        kind = device.split(":", maxsplit=1)[0]
        if kind not in PROVIDERS:
            raise RuntimeError(f"onnxruntime: device {device!r} is not one of {list(PROVIDERS)}")
        opts = ort.SessionOptions()
        opts.intra_op_num_threads = options.threads
        opts.inter_op_num_threads = 1
        opts.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(files[0]), opts, providers=[PROVIDERS[kind]])
        except Exception as error:  # ORT's exceptions share no base class but Exception
            raise RuntimeError(f"onnxruntime could not load {files[0].name}: {error}") from error
        effective = {
            "providers": ",".join(session.get_providers()),
            "intra_op_num_threads": str(options.threads),
            "inference_precision": options.precision,
        }
        return OnnxRuntimeSession(session, effective)


RUNTIME = OnnxRuntime()
