"""OpenVINO on the CPU.

Its default inference precision is bf16 where the CPU has units for it, so the precision is always
set, and read back from the compiled model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, PROBE_SECONDS, Host
from posedeploy.runtime.limits import refuse_beyond_limits
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import (
    Arrays,
    Availability,
    Code,
    PrecisionError,
    SessionOptions,
    TensorInfo,
)

# SessionOptions.precision -> ov::hint::inference_precision, for files that hold none. "fp16" and
# "int8" are how weights are stored: what is not quantized is computed in float32.
PRECISIONS = {"fp32": "f32", "fp16": "f32", "bf16": "bf16", "int8": "f32"}
# Runtime information of a model that holds what to compute in: 'f32' or 'f16'.
INFERENCE_PRECISION = ("posedeploy", "inference_precision")
# Option of a session that overrides both: 'f32', 'f16' or 'bf16'.
EXTRA = "inference_precision"
# Inference precision -> its name among the CPU plugin's OPTIMIZATION_CAPABILITIES. What the CPU
# has no instructions for is not listed, and the plugin computes in another precision instead.
_CAPABILITIES = {"bf16": "BF16", "f16": "FP16", "f32": "FP32"}
_LIST_CAPABILITIES = (
    "import openvino; print(*openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'))"
)
# OpenVINO's element types -> numpy's
DTYPES = {"f32": "float32", "f16": "float16", "f64": "float64", "i64": "int64", "i32": "int32",
          "u8": "uint8", "boolean": "bool"}  # fmt: skip
# Properties read back after compiling: those that can change a result.
_READ_BACK = ("INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT", "INFERENCE_NUM_THREADS",
              "NUM_STREAMS", "DYNAMIC_QUANTIZATION_GROUP_SIZE")  # fmt: skip


def tensor_info(port: Any) -> TensorInfo:
    """An input or output of a model, compiled or not."""
    dims = tuple(dim.get_length() if dim.is_static else "?" for dim in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return TensorInfo(port.get_any_name(), dims, DTYPES.get(kind, kind))


class OpenVinoSession:
    """An `openvino.CompiledModel` behind the `Session` protocol."""

    def __init__(self, compiled: Any, effective_options: Mapping[str, str]) -> None:
        self._request = compiled.create_infer_request()
        self.effective_options = dict(effective_options)
        self.inputs = tuple(tensor_info(port) for port in compiled.inputs)
        self.outputs = tuple(tensor_info(port) for port in compiled.outputs)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        # by default results are views of buffers that the next run overwrites
        results = self._request.infer(as_declared(feed, self.inputs), share_outputs=False)
        return {info.name: results[i] for i, info in enumerate(self.outputs)}


@dataclass(frozen=True)
class OpenVino:
    """The `Runtime` of OpenVINO."""

    host: Host = HOST

    def probe(self) -> Availability:
        # the plugin's own library is loaded only when it is asked for
        check = "assert 'CPU' in openvino.Core().available_devices, 'no CPU plugin'"
        oldest = backend_row("openvino").min_version
        return self.host.probe_import("openvino", ("openvino",), oldest, check)

    def probe_inference_precision(self, word: str) -> Availability:
        availability = self.probe()
        if not availability.ok:
            return availability
        status, line = self.host.run(_LIST_CAPABILITIES, PROBE_SECONDS)
        if status != 0:
            reason = f"the CPU plugin failed: {line}"
            return Availability(Code.BROKEN_INSTALL, reason, availability.version)
        if _CAPABILITIES.get(word) in line.split():
            return availability
        reason = f"openvino does not compute in {word} on this CPU, but in: {line}"
        return Availability(Code.NO_DEVICE, reason, availability.version)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> OpenVinoSession:
        import openvino as ov

        accepted_device("openvino", device, options.precision, PRECISIONS)
        core = ov.Core()
        model = core.read_model(*files[:2])
        # before it is compiled: that allocates what the graph computes
        refuse_beyond_limits("openvino", map(tensor_info, (*model.inputs, *model.outputs)))
        wanted = {
            "INFERENCE_PRECISION_HINT": _inference_precision(model, options),
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # activations stay as they are
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
        }
        if options.threads:
            wanted["INFERENCE_NUM_THREADS"] = str(options.threads)
        compiled = core.compile_model(model, "CPU", wanted)
        effective = _effective(compiled)
        if effective["inference_precision"] != wanted["INFERENCE_PRECISION_HINT"]:
            raise PrecisionError(
                f"openvino computes in {effective['inference_precision']}, "
                f"not in {wanted['INFERENCE_PRECISION_HINT']} as it was set"
            )
        return OpenVinoSession(compiled, effective)


def _inference_precision(model: Any, options: SessionOptions) -> str:
    """What the caller sets, else what the file holds, else the default of the precision."""
    if EXTRA in options.extra:
        return options.extra[EXTRA]
    if options.precision == "fp16" and model.has_rt_info(list(INFERENCE_PRECISION)):
        return str(model.get_rt_info(list(INFERENCE_PRECISION)).astype(str))
    return PRECISIONS[options.precision]


def _effective(compiled: Any) -> dict[str, str]:
    supported = set(compiled.get_property("SUPPORTED_PROPERTIES"))
    values = {n.lower(): _text(compiled.get_property(n)) for n in _READ_BACK if n in supported}
    return {"inference_precision": values.pop("inference_precision_hint", "?"), **values}


def _text(value: Any) -> str:
    """A property as OpenVINO writes it: `<Type: 'float32'>` is f32."""
    named = getattr(value, "get_type_name", None) or getattr(value, "to_string", None)
    return str(named() if named else value)


RUNTIME = OpenVino()
