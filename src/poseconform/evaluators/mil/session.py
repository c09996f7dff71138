"""A saved package behind the `Session` protocol, evaluated with torch on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poseconform.evaluators.mil.operators import OPERATORS
from poseconform.evaluators.mil.program import Operation, Program, Value, read_program
from posedeploy.runtime import SessionOptions, TensorInfo
from posedeploy.runtime.coreml import declared, read_spec

EVALUATOR = "mil-interpreter"


class MilSession:
    """A program and its declared inputs and outputs.

    Args:
        program: From `read_program`.
        inputs: As the package declares them.
        outputs: As the package declares them.

    Raises:
        RuntimeError: The program holds an operator without a row.
    """

    def __init__(
        self, program: Program, inputs: Sequence[TensorInfo], outputs: Sequence[TensorInfo]
    ) -> None:
        unknown = sorted({op.kind for op in program.operations} - set(OPERATORS))
        if unknown:
            raise RuntimeError(
                f"the MIL interpreter has no row for: {', '.join(unknown)}; add it to "
                "poseconform/evaluators/mil/operators.py"
            )
        self._program = program
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.effective_options: Mapping[str, str] = {"evaluator": EVALUATOR}

    def run(self, feed: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """See `Session.run`.

        Raises:
            RuntimeError: An operation cannot be evaluated, or gives another shape than declared.
        """
        values: dict[str, Tensor] = {
            info.name: torch.from_numpy(np.ascontiguousarray(feed[info.name], info.dtype))
            for info in self.inputs
        }
        with torch.inference_mode():
            for operation in self._program.operations:
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
    found = [tuple(t.shape) for t in tensors]
    expected = [shape for _, shape in operation.outputs]
    if found != expected:
        raise RuntimeError(
            f"{operation.kind} {operation.name!r}: shapes {found}; the program declares {expected}"
        )
    return {name: t for (name, _), t in zip(operation.outputs, tensors, strict=True)}


def _filled(parameter: Any, values: Mapping[str, Tensor]) -> Any:
    if isinstance(parameter, list):
        return [_filled(item, values) for item in parameter]
    return values[parameter.name] if isinstance(parameter, Value) else parameter


def load(files: Sequence[Path], device: str, options: SessionOptions) -> MilSession:
    """Read a package; the signature is that of `Runtime.load`.

    Raises:
        RuntimeError: It cannot be read, or holds an operator without a row.
    """
    del device
    if options.threads:
        torch.set_num_threads(options.threads)
    return MilSession(read_program(files[0]), *declared(read_spec(files[0])))
