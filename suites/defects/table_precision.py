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
from suites.defects.planting import subject


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


HALF = Site(("rtmpose_t",), precision="fp16", shape_mode="static")


# ---- modify this table to plant another defect below float32 ---------------------------------
# fmt: off
PRECISION: tuple[Defect, ...] = (
    Defect("int8 calibrated on noise", "a calibration set that nobody looked at",
           "weights", "layers", low("int8", "simcc_mobilenetv2"), calibrated_on_noise,
           "https://github.com/open-mmlab/mmpose/issues/3148"),
    Defect("ScaleNorm in float16", "an accelerator without float32, such as an NPU",
           "graph", "stressed", HALF, subject("norms:IN_HALF"),
           "https://github.com/google-ai-edge/litert-samples/issues/171"),
    Defect("ScaleNorm accumulated in float16", "a GPU whose sums are float16",
           "graph", "stressed", HALF, subject("norms:ACCUMULATED"),
           "https://github.com/open-mmlab/mmpose/issues/3196"),
    Defect("ScaleNorm of x / 64", "a fixed division, with which small values vanish",
           "graph", "tensors", HALF, subject("norms:FIXED")),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
