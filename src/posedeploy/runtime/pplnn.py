"""PPLNN through `pyppl`: x86 in float32, CUDA in float16.

No wheel of it exists, and PyPI's `pyppl` is another project of the same import name.  Names are
those of upstream's tools (`tools/pplnn.py` of PPLNN 0.9.2).

Graph fusion is off on x86: with it that engine computes HRNet wrongly, without an error.  The CUDA
engine has no such option (`include/ppl/nn/engines/cuda/options.h`); its precision is set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, PROBE_SECONDS, Host, failed, too_old
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, Code, SessionOptions, TensorInfo

# Device -> the one precision that its engine computes in, and its name in pyppl.nn
ENGINES = {"cpu": ("fp32", "x86"), "cuda": ("fp16", "cuda")}
# PPLNN's data types, as DATATYPE_ in its names, that inputs and outputs can have -> numpy's
DTYPES = {"FLOAT32": "float32", "FLOAT16": "float16", "INT64": "int64", "INT32": "int32",
          "BOOL": "bool"}  # fmt: skip
INSTALL = backend_row("pplnn").install
_ANOTHER, _NO_ENGINE = 3, 4  # exit statuses of the check below
# Importing a submodule imports the package, which may be anything; so this runs in a child.
_CHECK = f"""
import importlib.util, sys
if not all(importlib.util.find_spec("pyppl." + name) for name in ("common", "nn")):
    sys.exit({_ANOTHER})
from pyppl import common, nn
nn.onnx.RuntimeBuilderFactory.Create
print(nn.GetVersionString())
sys.exit(0 if hasattr(nn, "{{engine}}") else {_NO_ENGINE})
"""


class PplnnSession:
    """A `pyppl.nn.Runtime` behind the `Session` protocol.

    Its inputs and outputs are tensors of the runtime, so one thread at a time runs it.
    """

    def __init__(self, runtime: Any, common: Any, effective_options: Mapping[str, str]) -> None:
        self._runtime, self._common, self._lock = runtime, common, Lock()
        self.effective_options = dict(effective_options)
        inputs = [runtime.GetInputTensor(i) for i in range(runtime.GetInputCount())]
        outputs = [runtime.GetOutputTensor(i) for i in range(runtime.GetOutputCount())]
        self.inputs = tuple(_tensor_info(tensor, common) for tensor in inputs)
        self.outputs = tuple(_tensor_info(tensor, common) for tensor in outputs)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        ready = as_declared(feed, self.inputs)
        with self._lock:
            return self._run(ready)

    def _run(self, ready: Arrays) -> dict[str, NDArray[Any]]:
        for i, info in enumerate(self.inputs):
            status = self._runtime.GetInputTensor(i).ConvertFromHost(ready[info.name])
            _must_succeed(self._common, status, f"input {info.name!r}")
        _must_succeed(self._common, self._runtime.Run(), "run")
        results = {}
        for i, info in enumerate(self.outputs):
            data = self._runtime.GetOutputTensor(i).ConvertToHost()
            if not data:
                raise RuntimeError(f"PPLNN: output {info.name!r} could not be copied to the host")
            results[info.name] = np.array(data, info.dtype)  # the next run overwrites the buffer
        return results


def _tensor_info(tensor: Any, common: Any) -> TensorInfo:
    """Name, shape and type; the shape is () where PPLNN does not know it before the first run."""
    shape = tensor.GetShape()
    sizes = tuple(int(size) for size in shape.GetDims())
    static = all(size > 0 for size in sizes)
    kind = shape.GetDataType()
    dtypes = (v for name, v in DTYPES.items() if getattr(common, f"DATATYPE_{name}", None) == kind)
    # outputs that have not been computed have no type yet; those of pose models are float32
    return TensorInfo(tensor.GetName(), sizes if static else (), next(dtypes, "float32"))


def _must_succeed(common: Any, status: int, what: str) -> None:
    if status != common.RC_SUCCESS:
        raise RuntimeError(f"PPLNN: {what}: {common.GetRetCodeStr(status)}")


@dataclass(frozen=True)
class Pplnn:
    """The `Runtime` of PPLNN."""

    host: Host = HOST

    def probe(self) -> Availability:
        return self._probe_engine("x86")

    def probe_device(self, kind: str) -> Availability:
        return self.host.probe_cuda(self._probe_engine(ENGINES[kind][1]), "PPLNN")

    def _probe_engine(self, engine: str) -> Availability:
        if not self.host.is_installed("pyppl"):
            return Availability(Code.NOT_INSTALLED, f"pyppl is not installed: {INSTALL}")
        status, line = self.host.run(_CHECK.format(engine=engine), PROBE_SECONDS)
        if status == _ANOTHER:
            reason = f"the pyppl that is installed is another project, not PPLNN's: {INSTALL}"
            return Availability(Code.NOT_INSTALLED, reason)
        if status not in {0, _NO_ENGINE}:
            return failed("import pyppl", status, line)
        oldest = backend_row("pplnn").min_version
        if too_old(line, oldest):
            return Availability(Code.VERSION_TOO_OLD, f"PPLNN {line} is older than {oldest}", line)
        if status == _NO_ENGINE:
            reason = f"this pyppl was built without the {engine} engine: {INSTALL}"
            return Availability(Code.NO_DEVICE, reason, line)
        return Availability(Code.AVAILABLE, "", line)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> PplnnSession:
        target = accepted_device("pplnn", device)
        precision, name = ENGINES[target.kind]
        if options.precision != precision:
            raise RuntimeError(
                f"pplnn computes in {precision} on {target.kind}; asked for {options.precision}"
            )
        from pyppl import common, nn

        engine = _engine(nn, common, name, target.index)
        runtime = _runtime(nn, common, engine, files[0])
        effective = {"inference_precision": precision, "engine": name}
        if name == "x86":
            effective["graph_fusion"] = "off"
        return PplnnSession(runtime, common, effective)


def _engine(nn: Any, common: Any, name: str, number: int) -> Any:
    module = getattr(nn, name)
    options = module.EngineOptions()
    if name == "cuda":
        options.device_id = number
    engine = module.EngineFactory.Create(options)
    _must_exist(engine, f"its {name} engine")
    if name == "cuda":
        status = engine.Configure(module.ENGINE_CONF_SET_KERNEL_TYPE, common.DATATYPE_FLOAT16)
        _must_succeed(common, status, "asking for kernels in float16")
    else:
        status = engine.Configure(module.ENGINE_CONF_GRAPH_FUSION, 0)
        _must_succeed(common, status, "switching graph fusion off")
    return engine


def _must_exist(made: object, what: str) -> None:
    if not made:
        raise RuntimeError(f"PPLNN could not make {what}")


def _runtime(nn: Any, common: Any, engine: Any, path: Path) -> Any:
    builder = nn.onnx.RuntimeBuilderFactory.Create()
    _must_succeed(common, builder.LoadModelFromFile(str(path)), f"loading {path.name}")
    resources = nn.onnx.RuntimeBuilderResources()
    resources.engines = [engine]
    _must_succeed(common, builder.SetResources(resources), "giving the builder its engine")
    _must_succeed(common, builder.Preprocess(), f"preparing {path.name}")
    runtime = builder.CreateRuntime()
    _must_exist(runtime, f"a runtime of {path.name}")
    return runtime


RUNTIME = Pplnn()
