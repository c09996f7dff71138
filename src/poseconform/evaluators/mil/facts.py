"""What a saved package is, read from its protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posedeploy.runtime.coreml import read_spec

# DataType of MIL.proto -> numpy's names; what computes no network output is left out
_FLOATS = {10: "float16", 11: "float32", 12: "float64"}
# Operators between an interface of one element type and a network of another
_AT_THE_EDGE = frozenset({"cast", "const"})


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
