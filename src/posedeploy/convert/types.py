"""Values and Protocol of the converters."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from posedeploy.config import DeployConfig
from posedeploy.errors import ConversionError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import parts
from posedeploy.precision.qdq import Quantized
from posedeploy.runtime import FlowPrecision, TensorInfo


@dataclass(frozen=True)
class Declared:
    """Inputs and outputs as backend files declare them."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class Converted:
    """The backend's files, the main one first, and their precision.

    The precision is read from the files, but for bf16: they are float32 and computed in it.

    `declared` is read from the files too, and None where only loading them on a machine that the
    backend runs on tells; `recipe` is how the precision was lowered, for `detail.json`.
    """

    files: tuple[str, ...]
    precision: FlowPrecision
    declared: Declared | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


class Converter(Protocol):
    """One backend's conversion."""

    def convert(
        self,
        ir: Path,
        deploy_config: DeployConfig,
        folder: Path,
        calibration: CalibrationSet | None = None,
    ) -> Converted:
        """Turn the graph, in the form that the backend's row names, into files in a folder.

        `calibration` is what int8 measures its ranges on; None for other precisions.

        Raises:
            ConversionError: The backend's tool refused; the message is its own.
            UnavailableError: The backend's tool is not installed.
        """


def int8_recipe(name: str, done: Quantized, calibration: CalibrationSet) -> dict[str, Any]:
    """What `detail.json` records of a quantization."""
    return {
        "name": name,
        "kept": parts(done.kept),
        "quantized_layers": len(done.layers),
        "calibration": calibration.facts(),
    }


def refuse_dynamic_batch(
    deploy_config: DeployConfig, reason: str, inputs: Sequence[TensorInfo] = ()
) -> None:
    """ConversionError for a dynamic batch, in the deploy config or the graph's inputs."""
    named = any(isinstance(size, str) for info in inputs for size in info.shape)
    if named or deploy_config.dynamic_batch:
        raise ConversionError(
            "convert", str(deploy_config.path), "a dynamic batch", "a static deploy config",
            f"{reason}: remove dynamic_axes.",
        )  # fmt: skip


def copy_host_weights(ir: Path, folder: Path) -> None:
    """Copy the weights that the host needs, which the export has written next to the graph."""
    for path in ir.parent.glob("*.npz"):
        shutil.copyfile(path, folder / path.name)
