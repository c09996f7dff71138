"""A saved CoreML package behind the `Session` protocol, evaluated with torch on the CPU.

A package holds a program in MIL, Apple's intermediate language, and its weights. Evaluating it
operation by operation checks the conversion: weights, layouts, attributes, names. It proves
nothing about Apple's runtime; results are recorded with `evaluator = mil-interpreter`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poseconform.evaluators.mil.operators import OPERATORS
from posedeploy.runtime import SessionOptions, TensorInfo
from posedeploy.runtime.coreml import declared, import_coremltools, read_spec

EVALUATOR = "mil-interpreter"


@dataclass(frozen=True)
class Value:
    """The name of a value that an earlier operation computes, or of an input."""

    name: str


@dataclass(frozen=True)
class Operation:
    """One operation of a program.

    A parameter is a `Value`, numpy array, Python value, or a list of them; what the program leaves
    out is not among them.
    """

    kind: str  # its operator, e.g. 'conv'
    name: str
    parameters: Mapping[str, Any]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]  # names and shapes


def read_program(package: Path) -> tuple[Operation, ...]:
    """The operations of a package's main function in order, with constants filled in."""
    ct = import_coremltools()
    from coremltools.converters.mil.frontend.milproto.load import load

    try:
        model = ct.models.MLModel(str(package), skip_model_load=True)
    except Exception as error:  # coremltools raises Exception itself; the message is kept
        raise RuntimeError(f"coremltools could not read {package.name}: {error}") from error
    spec = model.get_spec()
    if spec.WhichOneof("Type") != "mlProgram":
        raise RuntimeError(f"{package.name} holds a {spec.WhichOneof('Type')}; expected mlProgram")
    function = load(spec, spec.specificationVersion, model.weights_dir).functions["main"]
    return tuple(
        Operation(
            op.op_type,
            op.name,
            {k: _parameter(v) for k, v in op.inputs.items() if v is not None},
            tuple((value.name, tuple(map(int, value.shape))) for value in op.outputs),
        )
        for op in function.operations
        if op.op_type != "const"
    )


def _parameter(value: Any) -> Any:
    """A constant's value, or the name of what is computed."""
    if isinstance(value, list | tuple):
        return [_parameter(item) for item in value]
    if value.val is None:
        return Value(value.name)
    return value.val if isinstance(value.val, str | bool) else np.asarray(value.val)


class MilSession:
    """A program and its declared inputs and outputs.

    An operator without a row, or an operation that cannot be evaluated, raises `RuntimeError`.
    """

    def __init__(
        self,
        operations: Sequence[Operation],
        inputs: Sequence[TensorInfo],
        outputs: Sequence[TensorInfo],
    ) -> None:
        unknown = sorted({op.kind for op in operations} - set(OPERATORS))
        if unknown:
            raise RuntimeError(
                f"the MIL interpreter has no row for: {', '.join(unknown)}; add it to "
                "poseconform/evaluators/mil/operators.py"
            )
        self._operations = operations
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.effective_options: Mapping[str, str] = {"evaluator": EVALUATOR}

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Session.run`."""
        values: dict[str, Tensor] = {
            info.name: torch.from_numpy(np.ascontiguousarray(feed[info.name], info.dtype))
            for info in self.inputs
        }
        with torch.inference_mode():
            for operation in self._operations:
                values |= _evaluate(operation, values)
        return {info.name: values[info.name].numpy() for info in self.outputs}


def _evaluate(operation: Operation, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parameters = {k: _filled(v, values) for k, v in operation.parameters.items()}
    try:
        result = OPERATORS[operation.kind](parameters)
    except (NotImplementedError, RuntimeError, ValueError, TypeError, KeyError) as error:
        # torch's errors name neither the operation nor its place in the program
        raise RuntimeError(f"{operation.kind} {operation.name!r}: {error}") from error
    tensors = (result,) if isinstance(result, Tensor) else result
    computed = [tuple(t.shape) for t in tensors]
    expected = [shape for _, shape in operation.outputs]
    if computed != expected:
        raise RuntimeError(
            f"{operation.kind} {operation.name!r}: shapes {computed}; "
            f"the program declares {expected}"
        )
    return {name: t for (name, _), t in zip(operation.outputs, tensors, strict=True)}


def _filled(parameter: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(parameter, list):
        return [_filled(item, values) for item in parameter]
    return values[parameter.name] if isinstance(parameter, Value) else parameter


def load(files: Sequence[Path], device: str, options: SessionOptions) -> MilSession:
    """Read a package; the signature is that of `Runtime.load`."""
    del device
    if options.threads:
        torch.set_num_threads(options.threads)
    return MilSession(read_program(files[0]), *declared(read_spec(files[0])))
