"""TensorRT on NVIDIA devices: engines that `posedeploy.convert.tensorrt` built.

`Binding` is what differs between TensorRT and TensorRT for RTX, whose Python modules have one API.

An engine has a fixed precision, which cannot be read from it: `BUILD_FILE` next to it records what
it was built with.  TF32, which TensorRT uses by default, is off in all of them.

The driver is queried before the library is loaded: without a GPU, TensorRT's Python package
segfaults instead of raising.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.paths import cache_dir, file_sha256, whole_file
from posedeploy.runtime.host import DEVICE_SECONDS, HOST, CudaDevice, Host, failed
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, Code, SessionOptions, TensorInfo

if TYPE_CHECKING:
    import tensorrt as trt

SYSTEMS = ("linux", "win32")  # NVIDIA publishes it for no other
BUILD_FILE = "end2end.engine.json"
UNKNOWN = "unknown"  # for engines that somebody else built
# Names of TensorRT's DataType -> numpy's
DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32",
          "INT64": "int64", "BOOL": "bool", "UINT8": "uint8"}  # fmt: skip
_CHECK = """
from {home} import RUNTIME
from posedeploy.runtime.tensorrt import prepare_process, use_device
prepare_process(binding=RUNTIME.binding)
import {module}
import polygraphy.backend.trt
use_device(0)
{module}.Builder({module}.Logger({module}.Logger.ERROR))
"""


@dataclass(frozen=True)
class Binding:
    """A Python module with TensorRT's API.

    Attributes:
        backend: Name of its row; `display` is for people.
        module: What is imported.
        distributions: Packages that bring it -> the CUDA that their driver must run at least.
        install: What pip installs.
        capabilities: Compute capabilities that it runs on; none for all that its driver runs.
        polygraphy: Name under which Polygraphy imports it.
    """

    backend: str
    display: str
    module: str
    distributions: Mapping[str, str]
    install: str
    capabilities: tuple[str, ...] = ()
    polygraphy: str = "tensorrt"

    @property
    def ahead_of_time(self) -> bool:
        """True if engines are built for compute capabilities, on any machine."""
        return bool(self.capabilities)

    def load(self) -> Any:
        """The module; ImportError where it or its libraries are missing."""
        return importlib.import_module(self.module)


TENSORRT = Binding(
    "tensorrt", "TensorRT", "tensorrt",
    {"tensorrt-cu13": "13.0", "tensorrt-cu12": "12.0", "tensorrt": ""}, "tensorrt",
)  # fmt: skip


@dataclass(frozen=True)
class TensorRT:
    """The `Runtime` of TensorRT, and of TensorRT for RTX."""

    host: Host = HOST
    binding: Binding = TENSORRT

    def probe(self) -> Availability:
        """The first check that fails, cheapest first; the library is tried in a child process."""
        host, binding = self.host, self.binding
        availability = host.probe_cuda(
            self._installed(), binding.display, needed_cuda(host, binding)
        )
        if not availability.ok:
            return availability
        if unsupported := self._unsupported(host.cuda().devices[0]):
            return Availability(Code.NO_DEVICE, unsupported, availability.version)
        home = backend_row(binding.backend).runtime
        check = _CHECK.format(home=home, module=binding.module)
        status, line = host.run(check, DEVICE_SECONDS)
        if status != 0:
            return failed(f"starting {binding.display}", status, line, availability.version)
        return availability

    def _installed(self) -> Availability:
        host, binding = self.host, self.binding
        if host.platform not in SYSTEMS:
            reason = f"there is no {binding.display} for {host.platform}"
            return Availability(Code.WRONG_OS, reason)
        for module, install in ((binding.module, binding.install), ("polygraphy", "polygraphy")):
            if not host.is_installed(module):
                reason = f"{module} is not installed: python -m pip install {install}"
                return Availability(Code.NOT_INSTALLED, reason)
        oldest = backend_row(binding.backend).min_version
        return host.probe_version(binding.module, tuple(binding.distributions), oldest)

    def _unsupported(self, device: CudaDevice) -> str:
        """Why it does not run on a device, '' if it does."""
        supported = self.binding.capabilities
        if not supported or device.compute_capability in supported:
            return ""
        return (
            f"{device.name} has compute capability {device.compute_capability}; "
            f"{self.binding.display} runs on {', '.join(supported)}"
        )

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> TensorRTSession:
        binding = self.binding
        number = accepted_device(binding.backend, device).index
        cuda = self.host.cuda()
        if cuda.code is not Code.AVAILABLE:  # the library would end this process
            raise RuntimeError(f"{binding.backend}: {cuda.code}: {cuda.reason}")
        path, built = files[0], read_build(files[0])
        precision = built.get("precision", UNKNOWN)
        if precision not in {options.precision, UNKNOWN}:
            raise RuntimeError(
                f"{path.name} was built for {precision}, not for {options.precision}"
            )
        if number >= len(cuda.devices):
            raise RuntimeError(
                f"{binding.backend}: no device {number}; there are {len(cuda.devices)}"
            )
        if unsupported := self._unsupported(cuda.devices[number]):
            raise RuntimeError(f"{binding.backend}: {unsupported}")
        prepare_process(binding=binding)
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = binding.load()
        use_device(number)
        logger, errors = collecting_logger(binding)
        runtime = trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is None:
            raise RuntimeError(
                f"{binding.display} {trt.__version__} does not load {path.name}: "
                f"{as_text(errors)} (an engine runs on the {binding.display} version and the kind "
                "of GPU it was built for)"
            )
        kernels = None
        if binding.ahead_of_time:
            kernels = KernelCache(cache_file(path, cuda.devices[number], trt.__version__), engine)
        return TensorRTSession(engine, number, (runtime, logger), errors, {
            "inference_precision": precision, "tf32": built.get("tf32", UNKNOWN),
            "network": built.get("network", UNKNOWN), "device": cuda.devices[number].name,
            binding.backend: trt.__version__,
        }, module=trt, kernels=kernels)  # fmt: skip


def cache_file(engine: Path, device: CudaDevice, version: str) -> Path:
    """Where the kernels are kept that were compiled for an engine on a kind of device."""
    words = re.sub(r"[^A-Za-z0-9._]+", "-", f"{device.name}_{version}")
    return cache_dir() / "tensorrt-rtx" / f"{file_sha256(engine)[:16]}_{words}.kernels"


class KernelCache:
    """NVIDIA's runtime cache: kernels that TensorRT for RTX compiled on the device.

    A file of another version, device or driver is refused by the library, and written anew.
    """

    def __init__(self, path: Path, engine: Any) -> None:
        self._path = path
        config = engine.create_runtime_config()
        self._cache = config.create_runtime_cache()
        self._kept = path.read_bytes() if path.is_file() else b""
        if self._kept and not self._cache.deserialize(self._kept):
            self._kept = b""
        config.set_runtime_cache(self._cache)
        self.context = engine.create_execution_context(config)

    def write(self) -> None:
        """Keep what was compiled; where that cannot be written, the next session compiles."""
        content = bytes(self._cache.serialize())
        if content != self._kept:
            with contextlib.suppress(OSError), whole_file(self._path) as temporary:
                temporary.write_bytes(content)


def needed_cuda(host: Host = HOST, binding: Binding = TENSORRT) -> str:
    """The oldest CUDA version that the driver must run; '' if no package is installed."""
    packages = binding.distributions.items()
    return next((cuda for name, cuda in packages if host.version(name)), "")


def target(host: Host = HOST) -> dict[str, str]:
    """What of this machine an engine is tied to; nothing where there is no device.

    Engines run on the TensorRT version and the kind of device that built them (TensorRT's
    support matrix); a cache of engines has to tell them apart.
    """
    devices = host.cuda().devices
    if not devices:
        return {}
    return {
        "compute_capability": devices[0].compute_capability,
        "device": devices[0].name,
        "tensorrt": host.version(*TENSORRT.distributions),
    }


def read_build(engine: Path) -> Mapping[str, str]:
    """What an engine was built with; nothing for one that somebody else built."""
    path = engine.with_name(BUILD_FILE)
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def use_device(number: int) -> None:
    """Let this thread use a device; RuntimeError if CUDA's runtime is missing or refuses it."""
    from polygraphy import cuda
    from polygraphy.exception import PolygraphyException

    try:
        wrapper = cuda.wrapper()
        wrapper.check(wrapper.handle.cudaSetDevice(number))
    except (OSError, PolygraphyException) as error:
        raise RuntimeError(
            f"the CUDA runtime (libcudart) does not take device {number}: {error}"
        ) from error


def prepare_process(
    host: Host = HOST, path: Sequence[str] | None = None, binding: Binding = TENSORRT
) -> None:
    """Let Polygraphy find the CUDA runtime of TensorRT's wheels, and silence its messages.

    CUDA 13's wheels put `libcudart.so.13` in `nvidia/cu13/lib`, where Polygraphy does not look;
    it searches LD_LIBRARY_PATH first.  torch may bring another CUDA: the one that TensorRT was
    built for comes first, for a driver of CUDA 12 refuses CUDA 13's.

    `path` is where wheels are installed; None takes `sys.path`.  Polygraphy runs one binding in a
    process: RuntimeError if it has another one already.
    """
    from polygraphy import config
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL
    rtx = binding.polygraphy != TENSORRT.polygraphy
    if "polygraphy.backend.trt" in sys.modules and config.USE_TENSORRT_RTX is not rtx:
        raise RuntimeError(
            f"{binding.display} cannot run in a process in which the other one of TensorRT and "
            "TensorRT for RTX has run: Polygraphy knows one of them; start another process"
        )
    config.USE_TENSORRT_RTX = rtx
    if rtx:
        sys.modules[binding.polygraphy] = binding.load()
    newest_first = needed_cuda(host, binding).startswith("13.")
    names = ("cu13", "cuda_runtime") if newest_first else ("cuda_runtime", "cu13")
    wheels = [Path(entry) / "nvidia" for entry in path or sys.path if entry]
    folders = [wheel / name / "lib" for name in names for wheel in wheels]
    present = [entry for entry in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if entry]
    more = [str(place) for place in folders if place.is_dir() and str(place) not in present]
    if more:
        os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([*present, *dict.fromkeys(more)])


def collecting_logger(binding: Binding = TENSORRT) -> tuple[trt.ILogger, list[str]]:
    """This process's logger, and the list to which it appends every error; the list is emptied.

    TensorRT's calls return None or False, and the reason is in its log alone.  There is one logger
    a process: while a builder, runtime or refitter lives, TensorRT logs to the logger of the first
    one and ignores those given later (`createInferRuntime` in its C++ API reference).
    """
    logger, errors = _logger_of(binding.load())
    errors.clear()
    return logger, errors


@cache
def _logger_of(module: Any) -> tuple[trt.ILogger, list[str]]:
    if TYPE_CHECKING:
        import tensorrt as trt
    else:
        trt = module
    errors: list[str] = []

    class CollectingLogger(trt.ILogger):  # type: ignore[misc]  # Any where it is absent
        """Called by TensorRT from any of its threads; warnings are dropped."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity.name in {"INTERNAL_ERROR", "ERROR"}:
                errors.append(msg.strip())

    return CollectingLogger(), errors


def as_text(errors: list[str]) -> str:
    """Everything that was logged, as one text."""
    return "; ".join(errors) or "it gave no reason"


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


def _info(engine: trt.ICudaEngine, name: str) -> TensorInfo:
    shape = _sizes(engine.get_tensor_shape(name))
    dims = tuple(
        size if size >= 0 else ("batch" if axis == 0 else "?") for axis, size in enumerate(shape)
    )
    kind = engine.get_tensor_dtype(name).name
    return TensorInfo(name, dims, DTYPES.get(kind, kind))


def _shape_range(engine: trt.ICudaEngine, info: TensorInfo) -> ShapeRange:
    fixed = tuple(dim for dim in info.shape if isinstance(dim, int))
    if len(fixed) == len(info.shape):
        return ShapeRange(fixed, fixed)
    smallest, _, largest = engine.get_tensor_profile_shape(info.name, 0)
    return ShapeRange(_sizes(smallest), _sizes(largest))


def _sizes(dims: trt.Dims) -> tuple[int, ...]:
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
    """An engine with its context, stream and device memory, which Polygraphy's runner manages.

    A batch larger than the profile's largest is run in parts: the profiles of MMDeploy's deploy
    configs end at batches of 1 or 4.

    One thread at a time runs it: a context, its stream and its buffers serve one call (TensorRT's
    developer guide, "Threading").  A context for each call would need the memory of all
    activations again, and the calls would still take turns on the device.

    `device` is the device's number. `owners` must live as long as the engine: its runtime and its
    logger, which appends to `errors`.  `module` is the binding's, and `kernels` holds a
    context of the engine.  A device without the memory for it is a `RuntimeError`.
    """

    def __init__(
        self,
        engine: trt.ICudaEngine,
        device: int,
        owners: tuple[object, ...],
        errors: list[str],
        effective_options: Mapping[str, str],
        *,
        module: Any,
        kernels: KernelCache | None = None,
    ) -> None:
        if TYPE_CHECKING:
            import tensorrt as trt
        else:
            trt = module
        from polygraphy.backend.trt import TrtRunner
        from polygraphy.exception import PolygraphyException

        self._errors, self._device, self._lock = errors, device, Lock()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.inputs, self.outputs = (
            tuple(_info(engine, name) for name in names if engine.get_tensor_mode(name) == mode)
            for mode in (trt.TensorIOMode.INPUT, trt.TensorIOMode.OUTPUT)
        )
        self._ranges = {info.name: _shape_range(engine, info) for info in self.inputs}
        profile = "; ".join(f"{name} {shapes}" for name, shapes in self._ranges.items())
        self.effective_options = {**effective_options, "profile": profile}
        self._runner = TrtRunner(kernels.context if kernels else engine)
        try:
            self._runner.activate()
        except PolygraphyException as error:
            raise RuntimeError(f"TensorRT: {error}: {as_text(errors)}") from error
        # not __del__: a session that lives to the end of a program is ended while CUDA is there
        weakref.finalize(self, _end, self._runner, owners, kernels)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        ready = as_declared(feed, self.inputs)
        count = max(len(array) for array in ready.values())
        limit = min(shapes.max[0] for shapes in self._ranges.values())
        with self._lock:
            use_device(self._device)  # CUDA's current device is a thread's
            pieces = [
                self._run_part({name: array[part] for name, array in ready.items()})
                for part in parts(count, limit)
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
            results = self._runner.infer(dict(feed))
        except PolygraphyException as error:
            raise RuntimeError(f"TensorRT: {error}: {as_text(self._errors)}") from error
        # the runner gives views of buffers that its next run overwrites
        return {info.name: np.array(results[info.name]) for info in self.outputs}


def _end(runner: Any, _owners: tuple[object, ...], kernels: KernelCache | None) -> None:
    """Free what a runner holds on the device; the engine's owners live until then.

    The runner itself frees its inputs, and not the outputs that its allocator made.
    """
    if kernels:
        kernels.write()
    for array in runner.output_allocator.buffers.values():
        array.free()
    runner.deactivate()


RUNTIME = TensorRT()
