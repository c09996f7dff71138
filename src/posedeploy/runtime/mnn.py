"""MNN on the CPU.

MNN convolves by Winograd's algorithm unless it is told not to, at up to thousands of times the
error of float32 (HRNet-w32: 1,059 times, MSPN-50: 4,795 times), so that is off.  A backend that a
build of MNN lacks is replaced by the CPU without an error, so the one that computes is read back.
What MNN prints to standard output goes into the messages of errors.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, Host
from posedeploy.runtime.limits import refuse_beyond_limits
from posedeploy.runtime.pool import Pool
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, SessionOptions, TensorInfo

# SessionOptions.precision: how weights are stored. All are computed in float32: MNN's "high".
PRECISIONS = ("fp32", "fp16", "int8")
_CONFIG = {"backend": "CPU", "precision": "high"}
# Option of a session: 'on' convolves by Winograd's algorithm, which is faster
WINOGRAD = "winograd"
# WINOGRAD_MEMORY_LEVEL of MNN's `Interpreter::HintMode`, and its values (3.6.1: 3 is the default)
_WINOGRAD_HINT, _WINOGRAD_LEVELS = 3, {"off": 0, "on": 3}
# BACKENDS of MNN's `Interpreter::SessionInfoCode`; MNN_FORWARD_CPU and MNN_FORWARD_CPU_EXTENSION
_BACKENDS, _CPU = 2, frozenset({0, 13})
_DTYPES = {"float": "float32"}  # MNN's element types -> numpy's
_PRINTED = RLock()


@contextmanager
def printed() -> Iterator[list[str]]:
    """Keep what native code prints to standard output; its lines are in the list afterwards."""
    lines: list[str] = []
    if os.name != "posix":  # elsewhere the C library's buffer cannot be flushed from here
        yield lines
        return
    with _PRINTED, tempfile.TemporaryFile() as sink:
        flush = ctypes.CDLL(None).fflush
        flush(None)
        saved = os.dup(1)
        os.dup2(sink.fileno(), 1)
        try:
            yield lines
        finally:
            flush(None)
            os.dup2(saved, 1)
            os.close(saved)
            sink.seek(0)
            lines += sink.read().decode(errors="replace").split("\n")[:-1]


class MnnSession:
    """An MNN module behind the `Session` protocol.

    A module holds the arrays of one call, so each call takes one that no other call has. Clones
    share their weights; there are as many as calls have run at the same time.

    The shapes of `inputs` and `outputs` are those that the graph was exported with. It takes any
    batch of one image or more: MNN computes the shapes again where a feed has another one.
    """

    def __init__(
        self,
        module: Any,
        inputs: tuple[TensorInfo, ...],
        outputs: tuple[TensorInfo, ...],
        effective_options: Mapping[str, str],
    ) -> None:
        self._modules = Pool(module, module.clone)
        self.inputs, self.outputs = inputs, outputs
        self.effective_options = dict(effective_options)

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        import MNN

        self._refuse_other_shapes(feed)
        arrays = as_declared(feed, self.inputs)
        variables = [variable(arrays[info.name]) for info in self.inputs]
        with self._modules.one() as module:
            results = module.onForward(variables)
            if len(results) != len(self.outputs):
                raise RuntimeError(f"mnn computed {len(results)} of {len(self.outputs)} outputs")
            # while no other call can have the module, whose next run may overwrite them
            return {
                info.name: np.array(MNN.expr.convert(result, MNN.expr.NCHW).read(), copy=True)
                for info, result in zip(self.outputs, results, strict=True)
            }

    def _refuse_other_shapes(self, feed: Arrays) -> None:
        """RuntimeError for what MNN itself answers with a message on stdout, or with SIGSEGV."""
        names = [info.name for info in self.inputs]
        if sorted(feed) != sorted(names):
            raise RuntimeError(f"mnn: inputs {sorted(feed)}; expected {sorted(names)}")
        for info in self.inputs:
            shape = feed[info.name].shape
            if shape[1:] != info.shape[1:] or shape[0] < 1:
                expected = ["N", *info.shape[1:]]
                raise RuntimeError(
                    f"mnn: input {info.name!r} has shape {list(shape)}; expected {expected}"
                )


@cache
def backend_in_force(name: str) -> int:
    """The `MNNForwardType` that computes where a backend is asked for by name, as 'CPU'.

    A module does not report it; an older session of one operator does.
    """
    with printed(), tempfile.TemporaryDirectory() as folder:
        import MNN

        path = f"{folder}/one.mnn"
        image = MNN.expr.placeholder([1, 1, 4, 4], MNN.expr.NCHW, MNN.expr.float)
        MNN.expr.save([MNN.expr.relu(image)], path)
        interpreter = MNN.Interpreter(path)
        session = interpreter.createSession({"backend": name, "precision": "high"})
        return int(interpreter.getSessionInfo(session, _BACKENDS))


@dataclass(frozen=True)
class Mnn:
    """The `Runtime` of MNN; `in_force` is what computes where a backend is asked for by name."""

    host: Host = HOST
    in_force: Callable[[str], int] = backend_in_force

    def probe(self) -> Availability:
        oldest = backend_row("mnn").min_version
        return self.host.probe_import("MNN", ("mnn",), oldest, "import _tools  # the converter")

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> MnnSession:
        accepted_device("mnn", device, options.precision, PRECISIONS)
        path = files[0]
        winograd = options.extra.get(WINOGRAD, "off")
        if (computing := self.in_force(_CONFIG["backend"])) not in _CPU:
            raise RuntimeError(f"mnn computes on its backend {computing}, not on the CPU")
        inputs, shapes = _declared_inputs(path)
        refuse_beyond_limits("mnn", inputs)  # before memory is allocated for them
        module = load_module(path, threads=options.threads, winograd=winograd)
        facts = module.get_info()
        by_name = {info.name: info for info in inputs}
        outputs = tuple(_tensor_info(name, shapes[name]) for name in facts["outputNames"])
        refuse_beyond_limits("mnn", outputs)
        effective = {
            "inference_precision": "fp32",  # of 'high' on a CPU; MNN does not report it
            "num_threads": str(options.threads or "MNN's own choice"),
            "winograd": winograd,
        }
        ordered = tuple(by_name[name] for name in facts["inputNames"])
        return MnnSession(module, ordered, outputs, effective)


def _declared_inputs(path: Path) -> tuple[tuple[TensorInfo, ...], Mapping[str, Any]]:
    """Inputs of a file, and its variables by name; RuntimeError if there is no graph in it."""
    with printed() as lines:
        import MNN

        variables = MNN.expr.load_as_dict(str(path)) if path.is_file() else {}
        inputs = {name: var for name, var in variables.items() if var.op_type == "Input"}
    if not inputs:
        raise RuntimeError(f"mnn could not load {path.name}: {_why_no_graph(path, lines)}")
    return tuple(_tensor_info(name, var) for name, var in inputs.items()), variables


def _why_no_graph(path: Path, lines: Sequence[str]) -> str:
    if not path.is_file():
        return "no such file"
    if not path.stat().st_size:
        return "it is empty"
    logged = "; ".join(line.strip() for line in lines[-2:])
    return f"no graph in its {path.stat().st_size} bytes" + (f" (MNN: {logged})" if logged else "")


def load_module(
    path: Path,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    threads: int = 1,
    winograd: str = "off",
) -> Any:
    """A module from some tensors of a file to others: by default from its inputs to its outputs.

    RuntimeError, with what MNN printed, if it does not load.
    """
    import MNN

    config = {**_CONFIG, **({"numThread": threads} if threads else {})}
    lines: list[str] = []
    try:
        with printed() as lines:
            manager = MNN.nn.create_runtime_manager((config,))
            manager.set_hint(_WINOGRAD_HINT, _WINOGRAD_LEVELS[winograd])
            load = MNN.nn.load_module_from_file
            return load(str(path), list(inputs), list(outputs), runtime_manager=manager)
    except Exception as error:  # MNN raises Exception itself, and SystemError
        logged = next((line for line in reversed(lines) if line.strip()), str(error))
        raise RuntimeError(f"mnn could not load {path.name}: {logged}") from error


def variable(array: NDArray[np.float32], form: Any = None) -> Any:
    """MNN's variable of an array; `form` is its `data_format` in memory, None for NCHW."""
    import MNN

    made = MNN.expr.placeholder(list(array.shape), MNN.expr.NCHW, MNN.expr.float)
    made.write(np.ascontiguousarray(array, np.float32))
    return made if form is None else MNN.expr.convert(made, form)


def _tensor_info(name: str, variable: Any) -> TensorInfo:
    kind = str(variable.dtype).removeprefix("dtype.")
    return TensorInfo(name, tuple(variable.shape), _DTYPES.get(kind, kind))


RUNTIME = Mnn()
