"""TensorRT's runtime, engine and context, over ONNX Runtime.

Outputs go where the allocator puts them, as those of engines with data-dependent shapes do; a
shape out of the profile is refused.
"""

from __future__ import annotations

import ctypes
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from .fake_common import DTYPES, expect, registered, shape_of, trt


class IExecutionContext:
    def __init__(self, engine: Any, logger: Any) -> None:
        self._engine, self._logger = engine, logger
        fixed = {n: tuple(s) for n, s in engine._shapes.items() if min(s, default=0) >= 0}
        self._shapes: dict[str, tuple[int, ...]] = fixed
        self._places: dict[str, int] = {}
        self._allocators: dict[str, Any] = {}

    @property
    def active_optimization_profile(self) -> int:
        return 0

    def set_all_tensors_debug_state(self, flag: bool) -> bool:
        return expect(flag, bool) or True

    def set_debug_listener(self, listener: Any) -> bool:
        return expect(listener, trt().IDebugListener) is listener

    def set_input_shape(self, name: str, shape: Any) -> bool:
        sizes = tuple(shape)
        given = self._engine._profiles[0].get(name) if self._engine._profiles else None
        least, most = (given[0], given[2]) if given else (self._engine._shapes[name],) * 2
        if not all(a <= b <= c for a, b, c in zip(least, sizes, most, strict=True)):
            self._logger.log(
                trt().ILogger.Severity.ERROR, f"{name}: {sizes} is not in [{least}, {most}]"
            )
            return False
        self._shapes[name] = sizes
        return True

    def get_tensor_shape(self, name: str) -> Any:
        return trt().Dims(list(self._shapes.get(name, self._engine._shapes[name])))

    def get_tensor_address(self, name: str) -> int:
        return self._places.get(name, 0)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._places[name] = expect(memory, int)
        return True

    def set_output_allocator(self, name: str, output_allocator: Any) -> bool:
        self._allocators[name] = expect(output_allocator, trt().IOutputAllocator)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        expect(stream_handle, int)
        feeds = {name: self._read(name) for name in self._engine._inputs}
        found = self._engine._session.run(None, feeds)
        for name, array in zip(self._engine._outputs, found, strict=True):
            allocate = self._allocators[name].reallocate_output_async
            content = np.ascontiguousarray(array)
            place = allocate(name, 0, content.nbytes, 256, stream_handle)
            self._allocators[name].notify_shape(name, trt().Dims(list(content.shape)))
            ctypes.memmove(place, content.ctypes.data, content.nbytes)
        return True

    def _read(self, name: str) -> Any:
        dtype = np.dtype(self._engine._dtypes[name])
        size = int(np.prod(self._shapes[name])) * dtype.itemsize
        memory = (ctypes.c_ubyte * size).from_address(self._places[name])
        return np.frombuffer(memory, dtype).reshape(self._shapes[name]).copy()


class ICudaEngine:
    def __init__(self, head: dict[str, Any], content: bytes, logger: Any) -> None:
        graph = onnx.load_from_string(content).graph
        self._logger, self._profiles = logger, head["profiles"]
        self._inputs = [value.name for value in graph.input]
        self._outputs = [value.name for value in graph.output]
        values = [*graph.input, *graph.output]
        self._shapes = {value.name: shape_of(value) for value in values}
        self._kinds = {v.name: DTYPES[v.type.tensor_type.elem_type] for v in values}
        names = {"FLOAT": "float32", "HALF": "float16", "BOOL": "bool"}
        self._dtypes = {n: names.get(kind, kind.lower()) for n, kind in self._kinds.items()}
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    @property
    def num_io_tensors(self) -> int:
        return len(self._shapes)

    def get_tensor_name(self, index: int) -> str:
        names: list[str] = list(self._shapes)
        return names[index]

    def get_tensor_mode(self, name: str) -> Any:
        modes = trt().TensorIOMode
        return modes.INPUT if name in self._inputs else modes.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return getattr(trt().DataType, self._kinds[name])

    def get_tensor_shape(self, name: str) -> Any:
        return trt().Dims(self._shapes[name])

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Any]:
        return [trt().Dims(sizes) for sizes in self._profiles[profile_index][name]]

    def get_tensor_format(self, name: str, profile_index: int = 0) -> Any:
        expect(profile_index, int)
        return trt().TensorFormat.LINEAR if name in self._shapes else None

    def is_shape_inference_io(self, name: str) -> bool:
        return name not in self._shapes

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return None if name in self._shapes else name

    def create_execution_context(self, strategy: Any = None) -> Any:
        return trt().IExecutionContext(self, self._logger) if strategy is None else None


class Runtime:
    def __init__(self, logger: Any) -> None:
        self._logger = registered(self, logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        head, _, content = bytes(serialized_engine).partition(b"\n")
        facts = json.loads(head) if head.startswith(b"{") else {"version": "no plan"}
        if facts["version"] != trt().__version__:
            self._logger.log(
                trt().ILogger.Severity.ERROR,
                f"plan of {facts['version']}, not {trt().__version__}",
            )
            return None
        return trt().ICudaEngine(facts, content, self._logger)


CLASSES = (IExecutionContext, ICudaEngine, Runtime)
