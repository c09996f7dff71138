"""Values and Protocols of the backend runtimes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Code(StrEnum):
    """Why a backend can or cannot run here."""

    AVAILABLE = "available"
    NOT_INSTALLED = "not-installed"
    NO_DEVICE = "no-device"
    NO_DRIVER = "no-driver"
    TOOL_MISSING = "tool-missing"
    WRONG_OS = "wrong-os"
    VERSION_TOO_OLD = "version-too-old"
    BROKEN_INSTALL = "broken-install"
    PROBE_TIMEOUT = "probe-timeout"
    DISABLED_BY_USER = "disabled-by-user"


class StoredPrecision(StrEnum):
    """What is in a backend's file: the types that its weights are stored in."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class ComputePrecision(StrEnum):
    """What a backend computes in."""

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"


# The precision that a deploy config and a folder's `deploy.json` name: how the weights are stored,
# or bf16, in which files of float32 are computed.
FlowPrecision = StoredPrecision | ComputePrecision


@dataclass(frozen=True)
class Device:
    """A device to run on: 'cpu' or 'cuda', and its number among the devices of its kind."""

    kind: str
    index: int = 0

    @classmethod
    def parse(cls, text: str) -> Device:
        """The device that 'cpu', 'cuda' or 'cuda:1' names; ValueError for another index."""
        kind, _, index = text.partition(":")
        if index and not index.isdecimal():
            raise ValueError(f"device {text!r}: {index!r} is no number")
        return cls(kind, int(index or 0))

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.index else self.kind


@dataclass(frozen=True)
class Availability:
    """Whether a backend can run on this machine: a value, never an exception.

    `reason` is one line for a person, empty when available; `version` is the backend's, '' where
    none could be read.
    """

    code: Code
    reason: str = ""
    version: str = ""

    @property
    def ok(self) -> bool:
        """True if the backend can run here."""
        return self.code is Code.AVAILABLE


@dataclass(frozen=True)
class TensorInfo:
    """One input or output as the loaded file declares it; `dtype` is numpy's name.

    A dimension is an int, or the name of a dynamic one ('?' if unnamed); the shape is () if the
    backend does not know it before the first run.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class SessionOptions:
    """How to run. Numerical modes are explicit: nothing is left to a runtime's default.

    `precision` is what the backend must compute in, `threads` are intra-op (0: the backend
    chooses), and `extra` are options of one backend.
    """

    precision: str = "fp32"
    threads: int = 1
    extra: Mapping[str, str] = field(default_factory=dict)


class Session(Protocol):
    """A loaded backend file.

    `run` may be called from several threads at the same time: each call gets the result of its
    own feed, equal in every bit to what a single thread gets.
    """

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """Inputs as the file declares them, in the file's order."""

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """Outputs as the file declares them, in the file's order."""

    @property
    def effective_options(self) -> Mapping[str, str]:
        """The options in force, read back from the backend where it reports them."""

    def run(self, feed: Arrays) -> dict[str, NDArray[Any]]:
        """Run once. Keys of `feed` are input names; keys of the result are output names.

        The result is the caller's own: no later call writes to its arrays.
        """


class Runtime(Protocol):
    """One backend."""

    def probe(self) -> Availability:
        """Whether this backend can run here. Never raises; loads no native library in-process."""

    def load(self, files: Sequence[Path], device: str, options: SessionOptions) -> Session:
        """Load backend files, the main one first; RuntimeError with the backend's own message."""


class DeviceRuntime(Runtime, Protocol):
    """A backend with more than one device: `Runtime.probe` is for the first in its row."""

    def probe_device(self, kind: str) -> Availability:
        """Whether it can run on a device of this type here. Never raises, as `probe`."""


class PrecisionRuntime(Runtime, Protocol):
    """A backend that computes in some precisions on some machines only."""

    def probe_inference_precision(self, word: str) -> Availability:
        """Whether it computes in a precision, in its own word, here. Never raises, as `probe`."""


class PrecisionError(RuntimeError):
    """The backend computes in another precision here than the one that was set."""


class RefusedError(RuntimeError):
    """The file is a program with operators beyond those of a pose network: it is not loaded."""
