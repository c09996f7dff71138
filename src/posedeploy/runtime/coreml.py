"""CoreML: predicts on macOS; what a saved package declares can be read anywhere.

The precision of an mlprogram is in the package, tensor by tensor.  `SessionOptions.precision`
chooses the units that may compute: fp32 stays on the CPU, for the GPU and the Neural Engine
compute in fp16 whatever the types in the package.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, Host
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, Code, SessionOptions, TensorInfo

# SessionOptions.precision -> name of a coremltools.ComputeUnit
COMPUTE_UNITS = {"fp32": "CPU_ONLY", "fp16": "ALL"}
# ArrayFeatureType.ArrayDataType of CoreML's Model.proto -> numpy's
DTYPES = {65568: "float32", 65552: "float16", 65600: "float64", 131104: "int32"}


def import_coremltools() -> Any:
    """coremltools, without its warnings about newer versions of torch and missing classes."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        import coremltools
    finally:
        logger.setLevel(level)
    return coremltools


def read_spec(package: Path) -> Any:
    """The protobuf of a saved package, on any machine; RuntimeError if it cannot be read."""
    ct = import_coremltools()
    try:
        return ct.models.MLModel(str(package), skip_model_load=True).get_spec()
    except Exception as error:  # coremltools raises Exception itself; the message is kept
        raise RuntimeError(f"coremltools could not read {package.name}: {error}") from error


def declared(spec: Any) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Inputs and outputs that a package declares; a size that may vary is '?'."""
    inputs, outputs = spec.description.input, spec.description.output
    return tuple(map(_tensor_info, inputs)), tuple(map(_tensor_info, outputs))


def _tensor_info(feature: Any) -> TensorInfo:
    array = feature.type.multiArrayType
    sizes: list[int | str] = [int(size) for size in array.shape]
    for axis, limits in enumerate(array.shapeRange.sizeRanges):
        if limits.lowerBound != limits.upperBound:
            sizes[axis] = "?"
    return TensorInfo(feature.name, tuple(sizes), DTYPES.get(array.dataType, str(array.dataType)))


class CoreMlSession:
    """A `coremltools.models.MLModel` behind the `Session` protocol.

    One thread at a time predicts: "Use an MLModel instance on one thread or one dispatch queue at
    a time" (Apple's documentation of `MLModel`).
    """

    def __init__(self, model: Any, effective_options: Mapping[str, str]) -> None:
        self._model, self._lock = model, Lock()
        self.effective_options = dict(effective_options)
        self.inputs, self.outputs = declared(model.get_spec())

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        with self._lock:
            results = self._model.predict(as_declared(feed, self.inputs))
            return {info.name: np.array(results[info.name]) for info in self.outputs}


@dataclass(frozen=True)
class CoreMl:
    """The `Runtime` of CoreML."""

    host: Host = HOST
    coremltools: Callable[[], Any] = import_coremltools

    def probe(self) -> Availability:
        oldest = backend_row("coreml").min_version
        installed = self.host.probe_import("coremltools", ("coremltools",), oldest)
        system = self.host.platform
        if not installed.ok or system == "darwin":
            return installed
        reason = f"CoreML predicts on macOS only; this is {system} (converting works)"
        return Availability(Code.WRONG_OS, reason, installed.version)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> CoreMlSession:
        accepted_device("coreml", device, options.precision, COMPUTE_UNITS)
        if self.host.platform != "darwin":
            raise RuntimeError(f"coreml predicts on macOS only; this is {self.host.platform}")
        ct = self.coremltools()
        units = COMPUTE_UNITS[options.precision]
        try:
            model = ct.models.MLModel(str(files[0]), compute_units=getattr(ct.ComputeUnit, units))
        except Exception as error:  # coremltools raises Exception itself; the message is kept
            raise RuntimeError(f"coreml could not load {files[0].name}: {error}") from error
        # with ALL, CoreML chooses a unit for each layer, and does not report which
        precision = "fp32" if options.precision == "fp32" else "fp16 or fp32, layer by layer"
        return CoreMlSession(model, {"inference_precision": precision, "compute_units": units})


RUNTIME = CoreMl()
