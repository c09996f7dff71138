"""LiteRT on the CPU: `.tflite` files, computed by XNNPACK.

Sessions run TensorFlow Lite's Interpreter, and each call has one of its own: two threads that
share one get each other's numbers, without an error.  `CompiledModel`, LiteRT's newer interface,
is not used: its runs hold Python's global lock, so that one call stops all threads, and it ends
the process with SIGSEGV on a truncated file, which the Interpreter refuses (ai-edge-litert 2.3.0).
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.runtime.host import HOST, Host
from posedeploy.runtime.limits import refuse_beyond_limits
from posedeploy.runtime.pool import Pool
from posedeploy.runtime.registry import accepted_device, as_declared, backend_row
from posedeploy.runtime.types import Arrays, Availability, SessionOptions, TensorInfo

PRECISIONS = ("fp32", "fp16", "int8")  # how weights are stored: what is not int8 computes in fp32
SIGNATURE = "serving_default"  # the one that converters write, and the one that is run
_DELEGATE = "DELEGATE"  # what the Interpreter calls a part of the graph that XNNPACK computes
_STDERR = Lock()


class LiteRtSession:
    """Interpreters of one `.tflite` file behind the `Session` protocol.

    An interpreter holds the arrays of one call, so each call takes one that no other call has.
    There are as many as calls have run at the same time; one whose call failed is dropped.
    """

    def __init__(
        self, first: Any, more: Callable[[], Any], effective_options: Mapping[str, str]
    ) -> None:
        self._runners = Pool(first, more)
        self.effective_options = dict(effective_options)
        self.inputs = _tensor_infos(first.get_input_details())
        self.outputs = _tensor_infos(first.get_output_details())

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        arrays = as_declared(feed, self.inputs)
        for info in self.inputs:  # the runner would resize the graph to any shape that it is given
            if info.name not in arrays or arrays[info.name].shape != info.shape:
                given = list(arrays[info.name].shape) if info.name in arrays else "nothing"
                raise RuntimeError(
                    f"litert: input {info.name!r}: {given}; the file takes {list(info.shape)}"
                )
        with self._runners.one() as runner:
            results: dict[str, NDArray[Any]] = runner(**arrays)  # copies
        return {info.name: results[info.name] for info in self.outputs}


def _tensor_infos(details: Mapping[str, Any]) -> tuple[TensorInfo, ...]:
    return tuple(
        TensorInfo(name, tuple(map(int, found["shape"])), np.dtype(found["dtype"]).name)
        for name, found in details.items()
    )


@dataclass(frozen=True)
class LiteRt:
    """The `Runtime` of LiteRT."""

    host: Host = HOST

    def probe(self) -> Availability:
        oldest = backend_row("litert").min_version
        check = "import ai_edge_litert.interpreter"  # which loads the library
        return self.host.probe_import("ai_edge_litert", ("ai-edge-litert",), oldest, check)

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> LiteRtSession:
        accepted_device("litert", device, options.precision, PRECISIONS)
        threads = options.threads or os.cpu_count() or 1
        try:
            # all Interpreters read the same bytes, whatever becomes of the file
            content = files[0].read_bytes()
            with native_log_dropped():
                first = open_model(content, threads)
        except (OSError, ValueError, RuntimeError) as error:
            raise RuntimeError(f"litert could not load {files[0].name}: {error}") from error
        effective = {
            "inference_precision": "fp32",
            "kernels": kernels(first),
            "num_threads": str(threads),
        }

        def more() -> Any:
            return open_model(content, threads).get_signature_runner(SIGNATURE)

        return LiteRtSession(first.get_signature_runner(SIGNATURE), more, effective)


def open_model(content: bytes, threads: int = 1) -> Any:
    """An allocated Interpreter of a file's content.

    Raises:
        ValueError: It is no `.tflite` file, or a damaged one.
        RuntimeError: It lacks the signature, declares sizes beyond the limits, or has operators
            that LiteRT does not run.
    """
    from ai_edge_litert.interpreter import Interpreter

    if not content:
        raise ValueError("it is empty")
    interpreter = Interpreter(model_content=content, num_threads=threads)
    signatures = interpreter.get_signature_list()
    if SIGNATURE not in signatures:
        raise RuntimeError(f"it has no signature {SIGNATURE!r}, but: {list(signatures) or 'none'}")
    details = (*interpreter.get_input_details(), *interpreter.get_output_details())
    refuse_beyond_limits("litert", _tensor_infos({info["name"]: info for info in details}))
    interpreter.allocate_tensors()
    return interpreter


def open_tapped(model: Path | bytes) -> Any:
    """An allocated Interpreter on builtin kernels; after a run it holds every tensor's value."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    where = {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it takes memory
        interpreter = Interpreter(
            **where,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
    interpreter.allocate_tensors()
    return interpreter


def kernels(interpreter: Any) -> str:
    """What computes: XNNPACK, which takes the parts of a graph that it can, or builtin kernels."""
    names = {operator["op_name"] for operator in interpreter._get_ops_details()}
    return "XNNPACK" if _DELEGATE in names else "builtin"


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file; `stored` are the bytes of a constant, 0 for what is computed."""

    name: str
    dtype: str  # TensorFlow Lite's: 'FLOAT32', 'INT8'
    shape: tuple[int, ...]
    stored: int


@dataclass(frozen=True)
class Operator:
    """An operator of a file; inputs and outputs are positions among its tensors, -1 for none."""

    kind: str  # TensorFlow Lite's: 'CONV_2D'
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """The main graph of a file, its operators in the order in which they are computed."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]


def read_graph(path: Path) -> Graph:
    """The graph of a file that the Interpreter has accepted: nothing is checked here."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    kinds, dtypes = _words(schema.BuiltinOperator), _words(schema.TensorType)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    # codes above 127 are in a second field
    names = [kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    return Graph(
        tuple(
            Tensor(
                tensor.Name().decode(), dtypes[tensor.Type()], _numbers(tensor.ShapeAsNumpy()),
                _stored(model.Buffers(tensor.Buffer())),
            )
            for tensor in map(graph.Tensors, range(graph.TensorsLength()))
        ),
        tuple(
            Operator(
                names[operator.OpcodeIndex()], _numbers(operator.InputsAsNumpy()),
                _numbers(operator.OutputsAsNumpy()),
            )
            for operator in map(graph.Operators, range(graph.OperatorsLength()))
        ),
        _numbers(graph.OutputsAsNumpy()),
    )  # fmt: skip


def _stored(buffer: Any) -> int:
    """Bytes of a buffer; an offset above 1 says that they follow the FlatBuffer (schema.fbs)."""
    return int(buffer.DataLength() or (buffer.Size() if buffer.Offset() > 1 else 0))


def _words(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if name.isupper()}


def _numbers(values: Any) -> tuple[int, ...]:
    """A vector of a file, which is 0 where the file has none."""
    return tuple(map(int, values)) if isinstance(values, np.ndarray) else ()


@contextlib.contextmanager
def native_log_dropped() -> Iterator[None]:
    """Drop what native code writes to standard error: one line when XNNPACK is first used.

    The library has no switch for it.
    """
    with _STDERR, contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a process without standard error has nothing to keep
            kept = os.dup(2)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 2)
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
        yield


RUNTIME = LiteRt()
