"""OpenVINO on the CPU.

Its default inference precision is bf16 where the CPU has units for it, so the precision is always
set, and read back from the compiled model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, PROBE_SECONDS, Host, failed
from posedeploy.runtime.limits import refuse_beyond_limits
from posedeploy.runtime.pool import Pool
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
# Calls of one session that compute at the same time. Each such stream is compiled while loading
# and holds its own activations: 5 to 30 MB and 0.02 to 0.15 s of one core for models of the zoo.
MAX_STREAMS = 4
_FIRST_USE = Lock()


def tensor_info(port: Any) -> TensorInfo:
    """An input or output of a model, compiled or not."""
    dims = tuple(dim.get_length() if dim.is_static else "?" for dim in port.get_partial_shape())
    kind = port.get_element_type().get_type_name()
    return TensorInfo(port.get_any_name(), dims, DTYPES.get(kind, kind))


class OpenVinoSession:
    """An `openvino.CompiledModel` behind the `Session` protocol.

    An infer request holds the arrays of one call, so each call takes one that no other call has.
    There are as many as calls have run at the same time; one whose call failed is dropped.
    """

    def __init__(self, compiled: Any, effective_options: Mapping[str, str]) -> None:
        self._compiled = compiled
        self._requests = Pool(compiled.create_infer_request(), compiled.create_infer_request)
        self.effective_options = dict(effective_options)
        self.inputs = tuple(tensor_info(port) for port in compiled.inputs)
        self.outputs = tuple(tensor_info(port) for port in compiled.outputs)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        with self._requests.one() as request:
            # by default results are views of buffers that the next run overwrites
            results = request.infer(as_declared(feed, self.inputs), share_outputs=False)
            return {info.name: results[i] for i, info in enumerate(self.outputs)}


@dataclass(frozen=True)
class OpenVino:
    """The `Runtime` of OpenVINO.

    `streams` is how many calls of a session compute at the same time at most; others wait.  There
    are no more than `cores` hold with `SessionOptions.threads` each, and one where the backend
    chooses the threads: it then takes all cores for one call.
    """

    host: Host = HOST
    streams: int = MAX_STREAMS
    cores: int = os.cpu_count() or 1

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
            return failed("loading the CPU plugin", status, line, availability.version)
        reason = f"openvino does not compute in {word} on this CPU, but in: {line}"
        if _CAPABILITIES.get(word) in line.split():
            reason = self._emulates(word)
        if not reason:
            return availability
        return Availability(Code.NO_DEVICE, reason, availability.version)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> OpenVinoSession:
        accepted_device("openvino", device, options.precision, PRECISIONS)
        core = shared_core()
        model = core.read_model(*files[:2])
        inference_precision = _inference_precision(model, options)
        if reason := self._emulates(inference_precision):
            raise PrecisionError(reason)
        # before it is compiled: that allocates what the graph computes
        refuse_beyond_limits("openvino", map(tensor_info, (*model.inputs, *model.outputs)))
        wanted = {
            "INFERENCE_PRECISION_HINT": inference_precision,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # activations stay as they are
            "PERFORMANCE_HINT": "LATENCY",
            # by default the first stream of every session and process computes on core 0
            "ENABLE_CPU_PINNING": False,
        }
        compiled = self._compile(core, model, wanted, options.threads)
        effective = _effective(compiled)
        if effective["inference_precision"] != inference_precision:
            raise PrecisionError(
                f"openvino computes in {effective['inference_precision']}, "
                f"not in {inference_precision} as it was set"
            )
        return OpenVinoSession(compiled, effective)

    def _emulates(self, word: str) -> str:
        """Why the plugin, which lists a precision and takes it, would emulate it; '' if not."""
        return (self.host.lacks_bf16() or "") if word == "bf16" else ""

    def _compile(self, core: Any, model: Any, wanted: Mapping[str, Any], threads: int) -> Any:
        """A compiled model of one stream or more, each with `threads` threads."""
        if not threads:
            return core.compile_model(model, "CPU", {**wanted, "NUM_STREAMS": "1"})
        streams = max(1, min(self.streams, self.cores // threads))
        while True:
            numbers = {"NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams * threads}
            compiled = core.compile_model(model, "CPU", {**wanted, **numbers})
            # The plugin lowers the threads to the cores that it counts: without those of
            # hyper-threading, for one. Streams with fewer threads would slow each call down.
            fit = max(1, compiled.get_property("INFERENCE_NUM_THREADS") // threads)
            if fit >= compiled.get_property("NUM_STREAMS"):
                return compiled
            streams = fit


def shared_core() -> Any:
    """The `openvino.Core` of this process, which lives as long as the process does.

    The CPU plugin of each core gives the thread that loads it a signal stack. Of two cores, the
    one that is made first must not end first: its stack is unmapped, then made the thread's again
    when the second ends, and the next signal that is handled, Ctrl-C for one, ends the process
    with SIGSEGV (openvino 2026.4).
    """
    with _FIRST_USE:
        return _core()


@cache
def _core() -> Any:
    import openvino as ov

    # The Python binding makes its tables of types now. Two threads of which each is the first to
    # convert an array wait for each other for ever: one has the interpreter's lock, the other
    # that of the table.
    ov.Tensor(np.zeros(1, np.float32)).data  # noqa: B018
    return ov.Core()


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
