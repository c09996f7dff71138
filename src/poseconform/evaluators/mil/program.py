"""A saved package: its operations with the constants filled in, and its format and types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posedeploy.runtime.coreml import import_coremltools, read_spec

# A parameter: the name of a value, a constant, or a list of both
Parameter = Any
# DataType of MIL.proto -> numpy's names, floating-point types only
_FLOATS = {10: "float16", 11: "float32", 12: "float64"}
# Operators between an interface of one element type and a network of another
_AT_THE_EDGE = frozenset({"cast", "const"})


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


@dataclass(frozen=True)
class PackageFacts:
    """A package.

    Attributes:
        kind: What it holds, 'mlProgram' for a program.
        specification_version: Version of CoreML's format; 7 is that of iOS 16.
        element_types: numpy names of the floating-point types that its operations compute in.
    """

    kind: str
    specification_version: int
    element_types: frozenset[str]


def package_facts(package: Path) -> PackageFacts:
    """Facts of a package.

    Raises:
        RuntimeError: It is no package that can be read.
    """
    spec = read_spec(package)
    types = {
        _FLOATS[output.type.tensorType.dataType]
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        for output in operation.outputs
        if operation.type not in _AT_THE_EDGE and output.type.tensorType.dataType in _FLOATS
    }
    return PackageFacts(
        str(spec.WhichOneof("Type")), int(spec.specificationVersion), frozenset(types)
    )
