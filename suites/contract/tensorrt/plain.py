"""Enumerations and base classes of TensorRT in plain Python, for tests without its bindings.

The contract suite takes the real ones; these have the names that the adapter and Polygraphy's
runner read.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    INT64 = 8


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorFormat(Enum):
    LINEAR = 0
    HWC = 8
    CHW16 = 10


class ILogger:
    class Severity(IntEnum):
        """As TensorRT numbers them."""

        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class IOutputAllocator:
    pass


class IDebugListener:
    pass


class Dims(tuple[int, ...]):
    __slots__ = ()


def bindings(version: str) -> Any:
    """A namespace like the module of this version, without its factories."""
    flags = ["TF32"] if version.startswith("11.") else ["TF32", "FP16", "INT8"]
    return SimpleNamespace(
        __version__=version,
        BuilderFlag=Enum("BuilderFlag", flags),
        DataType=DataType,
        Dims=Dims,
        IDebugListener=IDebugListener,
        ILogger=ILogger,
        IOutputAllocator=IOutputAllocator,
        MemoryPoolType=Enum("MemoryPoolType", ["WORKSPACE"]),
        NetworkDefinitionCreationFlag=IntEnum("NetworkDefinitionCreationFlag", ["STRONGLY_TYPED"]),
        TensorFormat=TensorFormat,
        TensorIOMode=TensorIOMode,
        float16=DataType.HALF,
        float32=DataType.FLOAT,
        int32=DataType.INT32,
        int64=DataType.INT64,
        int8=DataType.INT8,
        uint8=DataType.UINT8,
        bool=DataType.BOOL,
    )
