"""Defects of flows below float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.planted.defects import Defect, Site
from posedeploy.config import deploy_config_text
from suites.defects.graph_edits import nodes
from suites.defects.planting import Array, Graph, graph, initializer, set_initializer


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


def one_scale_a_layer(owner: Graph) -> None:
    """All channels of a convolution have the scale that its largest weight needs.

    ONNX Runtime computes a bias in steps of the input's times the weights' scale.
    """
    pairs = {node.output[0]: node for node in nodes(owner, "DequantizeLinear")}
    for conv in nodes(owner, "Conv"):
        weight, bias = (pairs.get(name) for name in [*conv.input, ""][1:3])
        if weight is None or bias is None:
            continue
        scales = initializer(owner, weight.input[1])
        one = np.full_like(scales, scales.max())
        rescale(owner, weight, scales / one, one)
        steps = initializer(owner, bias.input[1])
        rescale(owner, bias, scales / one, steps * one / scales)


def rescale(owner: Graph, pair: Any, factors: Array, scales: Array) -> None:
    """Write the integers of a DequantizeLinear [C, ...] in other steps, one a channel."""
    values = initializer(owner, pair.input[0])
    shape = (-1, *[1] * (values.ndim - 1))
    set_initializer(
        owner, pair.input[0], np.round(values * factors.reshape(shape)).astype(values.dtype)
    )
    set_initializer(owner, pair.input[1], scales.astype(np.float32))


def low(precision: str, *models: str) -> Site:
    return Site(models, precision=precision)


# ---- modify this table to plant another defect below float32 ---------------------------------
# fmt: off
PRECISION: tuple[Defect, ...] = (
    Defect("int8 calibrated on noise", "a calibration set that nobody looked at",
           "weights", "layers", low("int8", "simcc_mobilenetv2"), calibrated_on_noise,
           "https://github.com/open-mmlab/mmpose/issues/3148"),
    Defect("int8 weights with one scale a layer", "a converter that quantizes per tensor",
           "weights", "accuracy", low("int8", "simcc_mobilenetv2"), graph(one_scale_a_layer)),
)
# fmt: on
# ----------------------------------------------------------------------------------------------
