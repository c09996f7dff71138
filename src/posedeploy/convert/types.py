"""What every converter looks like from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from posedeploy.config import DeployConfig
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import TensorInfo


@dataclass(frozen=True)
class Representation:
    """What a backend is converted from.

    Attributes:
        form: 'onnx', through one of the exporters; 'torchscript', a traced module with the names
            of its inputs and outputs in it; 'ncnn', a traced module in which is rewritten what
            ncnn lacks; or 'exported-program', what `torch.export` captures.
        stages: How much of a detector the graph holds, by the variant that deploy configs write
            ('yolox-pose', 'rtmo'); everything up to and with NMS where it is not named.
    """

    form: str
    stages: Mapping[str, str] = field(default_factory=dict)

    def stage(self, variant: str) -> str:
        """'nms', 'dense' or 'raw' for a model of this variant."""
        return self.stages.get(variant, "nms")


ONNX = Representation("onnx")


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
        precision: 'fp32', 'fp16' or 'int8', read from the files that were written.
        declared: Inputs and outputs, read from the files that were written; None where they are
            read by loading the files, which takes a machine that the backend runs on.
        recipe: How the precision was lowered, for `detail.json`; empty for fp32.
    """

    files: tuple[str, ...]
    precision: str
    declared: Declared | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)


class Converter(Protocol):
    """One backend's conversion."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Precisions there is a recipe for."""
        ...

    @property
    def representation(self) -> Representation:
        """What it is converted from; backends with equal ones share an export."""
        ...

    @property
    def tools(self) -> tuple[str, ...]:
        """Packages or programs that converting needs and running does not."""
        ...

    def convert(
        self,
        ir: Path,
        deploy_config: DeployConfig,
        work_dir: Path,
        calibration: CalibrationSet | None = None,
    ) -> Converted:
        """Turn the intermediate representation into the backend's files in `work_dir`.

        Args:
            ir: The graph in the form of `representation`.
            deploy_config: How to convert.
            work_dir: An existing folder.
            calibration: What int8 measures its ranges on; given for int8, None otherwise.

        Raises:
            ConversionError: The backend's tool refused; the message is its own.
            UnavailableError: The backend's tool is not installed.
        """
        ...
