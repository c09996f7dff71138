"""A saved package as a list of operations with the constants filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.runtime.coreml import import_coremltools

# What a parameter is: the name of a value, or a constant.  A list holds either.
Parameter = Any


@dataclass(frozen=True)
class Value:
    """The name of a value that an earlier operation computes, or of an input."""

    name: str


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        kind: Its operator, e.g. 'conv'.
        name: Its name in the program.
        parameters: By name: `Value`, numpy array, Python value, or a list of them; what the
            program leaves out is not here.
        outputs: Names and shapes of the values that it computes.
    """

    kind: str
    name: str
    parameters: Mapping[str, Parameter]
    outputs: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Program:
    """The main function of a package.

    Attributes:
        operations: In order; constants are in the operations that read them.
        outputs: Names of the values that are the function's results.
    """

    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]


def read_program(package: Path) -> Program:
    """The program of a package, its weights read from the package's own file.

    Raises:
        RuntimeError: It is no package with an mlprogram in it.
    """
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
    operations = tuple(_operation(op) for op in function.operations if op.op_type != "const")
    return Program(operations, tuple(value.name for value in function.outputs))


def _operation(op: Any) -> Operation:
    parameters = {k: _parameter(v) for k, v in op.inputs.items() if v is not None}
    outputs = tuple((value.name, _shape(value.shape)) for value in op.outputs)
    return Operation(op.op_type, op.name, parameters, outputs)


def _shape(shape: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in shape)


def _parameter(value: Any) -> Parameter:
    """A constant's value, or the name of what is computed."""
    if isinstance(value, list | tuple):
        return [_parameter(item) for item in value]
    if value.val is None:
        return Value(value.name)
    return value.val if isinstance(value.val, str | bool) else np.asarray(value.val)
