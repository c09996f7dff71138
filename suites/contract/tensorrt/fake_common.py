"""What both halves of the fakes need."""

from __future__ import annotations

import sys
import weakref
from typing import Any

# ONNX's element types -> names of TensorRT's DataType
DTYPES = {1: "FLOAT", 6: "INT32", 7: "INT64", 9: "BOOL", 10: "HALF"}


def trt() -> Any:
    """The module that is installed as `tensorrt`."""
    return sys.modules["tensorrt"]


def expect(value: Any, kind: Any) -> Any:
    """`value`, refused as pybind11 refuses it if it is of another type."""
    if not isinstance(value, kind):
        raise TypeError(f"incompatible function arguments: {value!r} is no {kind}")
    return value


def shape_of(value: Any) -> list[int]:
    """The shape of a graph's input or output, -1 for a dynamic dimension."""
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]


def registered(owner: Any, logger: Any) -> Any:
    """The logger that a new builder or runtime writes to: the first of those that live."""
    owners: list[tuple[Any, Any]] = vars(trt()).setdefault("_owners", [])
    owners[:] = [entry for entry in owners if entry[0]() is not None]
    first = owners[0][1] if owners else expect(logger, trt().ILogger)
    owners.append((weakref.ref(owner), first))
    return first
