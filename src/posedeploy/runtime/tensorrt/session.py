"""A TensorRT engine behind the `Session` protocol, run by Polygraphy's runner."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.tensorrt.log import as_text
from posedeploy.runtime.types import Arrays, TensorInfo, as_contiguous

if TYPE_CHECKING:
    import tensorrt as trt

# Names of TensorRT's DataType -> numpy's
DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32",
          "INT64": "int64", "BOOL": "bool", "UINT8": "uint8"}  # fmt: skip
BATCH = "batch"


@dataclass(frozen=True)
class ShapeRange:
    """Shapes of one input that the engine's first optimization profile allows."""

    min: tuple[int, ...]
    max: tuple[int, ...]

    def takes(self, shape: tuple[int, ...]) -> bool:
        """True if a tensor of this shape can be run."""
        return len(shape) == len(self.min) and all(
            a <= b <= c for a, b, c in zip(self.min, shape, self.max, strict=True)
        )

    def __str__(self) -> str:
        smallest, largest = ("x".join(map(str, shape)) for shape in (self.min, self.max))
        return smallest if smallest == largest else f"{smallest} to {largest}"


def tensor_infos(engine: trt.ICudaEngine, mode: trt.TensorIOMode) -> tuple[TensorInfo, ...]:
    """Inputs or outputs of an engine, in its order."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    return tuple(_info(engine, name) for name in names if engine.get_tensor_mode(name) == mode)


def _info(engine: trt.ICudaEngine, name: str) -> TensorInfo:
    shape = sizes(engine.get_tensor_shape(name))
    dims = tuple(
        size if size >= 0 else (BATCH if axis == 0 else "?") for axis, size in enumerate(shape)
    )
    kind = engine.get_tensor_dtype(name).name
    return TensorInfo(name, dims, DTYPES.get(kind, kind))


def shape_range(engine: trt.ICudaEngine, info: TensorInfo) -> ShapeRange:
    """The shapes that an input may have."""
    if all(isinstance(dim, int) for dim in info.shape):
        fixed = tuple(dim for dim in info.shape if isinstance(dim, int))
        return ShapeRange(fixed, fixed)
    smallest, _, largest = engine.get_tensor_profile_shape(info.name, 0)
    return ShapeRange(sizes(smallest), sizes(largest))


def sizes(dims: trt.Dims) -> tuple[int, ...]:
    """A shape as a tuple; `Dims` has a length and items, and no iterator."""
    return tuple(dims[index] for index in range(len(dims)))


def parts(count: int, limit: int) -> Iterator[slice]:
    """Slices of at most `limit` rows that together are `count` rows; one empty slice for none.

    Their lengths differ by at most 1, so that none is smaller than the profile's smallest batch.
    """
    number = max(-(-count // limit), 1)
    for part in range(number):
        yield slice(count * part // number, count * (part + 1) // number)


class TensorRTSession:
    """An engine with its context, stream and device memory, which `TrtRunner` manages.

    A batch larger than the profile's largest is run in parts: the profiles of MMDeploy's deploy
    configs end at batches of 1 or 4.

    Args:
        engine: The engine.
        owners: What must live as long as the engine: its runtime and its logger.
        errors: The list that the logger appends to.
        effective_options: Those of the build.

    Raises:
        RuntimeError: There is no memory for it on the device.
    """

    def __init__(
        self,
        engine: trt.ICudaEngine,
        owners: tuple[object, ...],
        errors: list[str],
        effective_options: Mapping[str, str],
    ) -> None:
        import tensorrt as trt

        self._errors = errors
        self.inputs = tensor_infos(engine, trt.TensorIOMode.INPUT)
        self.outputs = tensor_infos(engine, trt.TensorIOMode.OUTPUT)
        self._ranges = {info.name: shape_range(engine, info) for info in self.inputs}
        profile = "; ".join(f"{name} {shapes}" for name, shapes in self._ranges.items())
        self.effective_options = {**effective_options, "profile": profile}
        self._runner = self._start(engine)
        # not __del__: a session that lives to the end of a program is ended while CUDA is there
        weakref.finalize(self, _end, self._runner, owners)

    def _start(self, engine: trt.ICudaEngine) -> Any:
        from polygraphy.backend.trt import TrtRunner
        from polygraphy.exception import PolygraphyException

        runner = TrtRunner(engine)
        try:
            runner.activate()
        except PolygraphyException as error:
            raise RuntimeError(f"TensorRT: {error}: {as_text(self._errors)}") from error
        return runner

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        dtypes = {info.name: info.dtype for info in self.inputs}
        ready = {name: as_contiguous(array, dtypes[name]) for name, array in feed.items()}
        counts = {len(array) for array in ready.values()}
        limit = min(shapes.max[0] for shapes in self._ranges.values())
        pieces = [
            self._run_part({name: array[part] for name, array in ready.items()})
            for part in parts(max(counts), limit)
        ]
        return {
            info.name: np.concatenate([piece[info.name] for piece in pieces])
            for info in self.outputs
        }

    def _run_part(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        from polygraphy.exception import PolygraphyException

        for name, array in feed.items():
            if not self._ranges[name].takes(array.shape):
                raise RuntimeError(
                    f"TensorRT: input {name!r} of shape {list(array.shape)} is outside of the "
                    f"engine's profile: {self._ranges[name]}"
                )
        self._errors.clear()
        try:
            found = self._runner.infer(dict(feed))
        except PolygraphyException as error:
            raise RuntimeError(f"TensorRT: {error}: {as_text(self._errors)}") from error
        # the runner gives views of buffers that its next run overwrites
        return {info.name: np.array(found[info.name]) for info in self.outputs}


def _end(runner: Any, _owners: tuple[object, ...]) -> None:
    """Free what a runner holds on the device; the engine's owners live until then.

    The runner itself frees its inputs, and not the outputs that its allocator made.
    """
    for array in runner.output_allocator.buffers.values():
        array.free()
    runner.deactivate()
