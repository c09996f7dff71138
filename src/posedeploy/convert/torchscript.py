"""TorchScript: the traced module is the backend's file already."""

from __future__ import annotations

import shutil
from pathlib import Path

from posedeploy.config import DeployConfig
from posedeploy.convert.types import Converted
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.runtime import StoredPrecision, backend_row


def convert(
    ir: Path, deploy_config: DeployConfig, folder: Path, calibration: CalibrationSet | None = None
) -> Converted:
    """A copy."""
    del deploy_config, calibration
    target = folder / backend_row("torchscript").main_file
    shutil.copyfile(ir, target)
    return Converted((target.name,), StoredPrecision.FP32)
