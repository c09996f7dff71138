"""What every converter looks like from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from posedeploy.config import DeployConfig
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import StoredPrecision, TensorInfo


@dataclass(frozen=True)
class Declared:
    """Inputs and outputs as backend files declare them."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class Converted:
    """The backend's files.

    Attributes:
        files: File names in `work_dir`, the main one first.
        precision: Read from the files that were written.
        declared: Inputs and outputs, read from the files that were written; None where they are
            read by loading the files, which takes a machine that the backend runs on.
        recipe: How the precision was lowered, for `detail.json`; empty for fp32.
    """

    files: tuple[str, ...]
    precision: StoredPrecision
    declared: Declared | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


class Converter(Protocol):
    """One backend's conversion."""

    def convert(
        self,
        ir: Path,
        deploy_config: DeployConfig,
        work_dir: Path,
        calibration: CalibrationSet | None = None,
    ) -> Converted:
        """Turn the intermediate representation into the backend's files in `work_dir`.

        Args:
            ir: The graph in the form that the backend's row names.
            deploy_config: How to convert.
            work_dir: An existing folder.
            calibration: What int8 measures its ranges on; given for int8, None otherwise.

        Raises:
            ConversionError: The backend's tool refused; the message is its own.
            UnavailableError: The backend's tool is not installed.
        """
        ...
