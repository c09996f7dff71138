"""Defects of flows below float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import Defect, Site
from posedeploy.config import deploy_config_text


def calibrated_on_noise(judge: Judge, cell: Cell, scratch: Path) -> Judge:
    """The ranges of int8 are measured on gray noise that no camera has seen."""
    images = scratch / "noise"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        noise = rng.integers(120, 136, (*cell.model.shape, 3), np.uint8)
        cv2.imwrite(str(images / f"{i}.png"), noise)
    config = scratch / "noise.py"
    text = deploy_config_text(cell.flow.deploy_config)
    calibration = f"calib_config = dict(images={str(images)!r}, count=8)"
    config.write_text(f"{text}\n{calibration}\n", encoding="utf-8")
    other = replace(cell, flow=replace(cell.flow, deploy_config=str(config)))
    return judge.with_conversion(cell, judge.convert(other))


def low(precision: str, *models: str) -> Site:
    return Site(models, precision=precision)


# ---- modify this table to plant another defect below float32 ---------------------------------
# fmt: off
PRECISION: tuple[Defect, ...] = (
    Defect("int8 calibrated on noise", "a calibration set that nobody looked at",
           "weights", "layers", low("int8", "simcc_mobilenetv2"), calibrated_on_noise,
           "https://github.com/open-mmlab/mmpose/issues/3148"),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
