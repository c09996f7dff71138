"""How much noise the quantized layers of an int8 artifact may add: for the judge and `convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from posedeploy.runtime.quantized.noise import Quantized


@dataclass(frozen=True)
class LayerLimit:
    """Least signal over noise of the quantized layers of a family and backend, '*' for any.

    `least_quantized` is the least fraction of the layers that sum products which compute in int8:
    a flow that quantizes nothing would pass every other check.
    """

    family: str
    backend: str
    min_db: float  # of a layer on its own float32 input
    median_db: float  # of the median layer: bad ranges raise the noise of all layers
    least_quantized: float
    reason: str


# ---- modify this table to add a limit --------------------------------------------------------
# fmt: off
# Measured on figures with the project's own recipes; worst layer / median layer, dB:
#            ncnn         ONNX Runtime   OpenVINO       TensorRT for RTX (its graph)
# DSNT                    31.2 / 35.0    33.1 / 37.3    (calibrated weights)
# DeepPose                31.5 / 35.0    33.2 / 37.2    (calibrated weights)
# LiteHRNet  1.5 / 28.3   2.5 / 30.8     24.3 / 29.9    1.5 / 27.3
# HRNet                   31.8 / 38.7                   26.2 / 34.4
# MSPN                    32.8 / 36.4                   27.9 / 31.7
# RLE                     31.5 / 35.0    33.2 / 37.2    (calibrated weights)
# RTMO                    33.2 / 39.2    29.9 / 37.3    28.5 / 36.2    (calibrated weights)
# RTMPose    15.4 / 31.1  15.4 / 36.8    16.9 / 35.5    15.3 / 33.7
# SimCC      19.8 / 35.3  21.8 / 38.0    29.8 / 37.7    19.9 / 35.3
# YOLOX-Pose                                            28.5 / 36.4
# LiteRT: HRNet 26.3 / 33.2, LiteHRNet -.9 / 34.0, MSPN 28.4 / 32.1, RTMO 30.4 / 36.9,
#         RTMPose 23.8 / 32.7, SimCC 27.8 / 34.6, YOLOX-Pose 30.4 / 37.2
# RTMPose calibrated on noise: 6.9 / 22.7.  A limit is 3 dB, half the noise's power, below.
LAYER_LIMITS: tuple[LayerLimit, ...] = (
    LayerLimit("*", "*", 12.0, 27.0, 0.75,
               "worst 15.4 / 31.1 of RTMPose; 38 of 43 layers on ncnn"),
    LayerLimit("LiteHRNet", "*", -2.0, 25.0, 0.5,
               "depthwise layers of its branches hold channels that one range serves badly, and "
               "the keypoints do not mind; NNCF leaves 155 of 353 layers in float32 of itself"),
    LayerLimit("YOLOX-Pose", "*", 12.0, 27.0, 0.6,
               "68 of 101 layers on OpenVINO: its decode and its last layers stay"),
    LayerLimit("RTMO", "*", 23.0, 34.0, 0.6,
               "29.9 / 37.3 on OpenVINO, 66 of 101 layers: its decode and its joint tokens stay; "
               "worst 25.8 of rtmo_s on ncnn"),
    # The int8 of MNN is of weights alone. Measured there: HRNet 39.5 / 42.3, LiteHRNet
    # 38.2 / 49.0, MSPN 29.3 / inf (weights on a grid), RTMO 33.8 / 43.1, RTMPose 38.0 / 48.4,
    # SimCC 43.1 / inf, YOLOX-Pose 33.6 / 42.5.
    LayerLimit("*", "mnn", 26.0, 39.0, 0.75, "worst 29.3 of MSPN, 42.3 of HRNet"),
    LayerLimit("LiteHRNet", "mnn", 35.0, 46.0, 0.75, "38.2 / 49.0, 350 of 353 layers"),
    LayerLimit("RTMO", "mnn", 30.0, 39.0, 0.75, "33.8 / 43.1, 124 of 132 layers"),
    LayerLimit("YOLOX-Pose", "mnn", 30.0, 39.0, 0.75, "33.6 / 42.5, 86 layers"),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


def layer_limit_for(
    family: str, backend: str, rows: Sequence[LayerLimit] = LAYER_LIMITS
) -> LayerLimit:
    """The row for a flow, the family's own before '*', then the backend's.

    Raises:
        LookupError: There is no row: a flow without a measured limit must not pass.
    """
    fitting = [
        row for row in rows if row.family in {family, "*"} and row.backend in {backend, "*"}
    ]
    if not fitting:
        raise LookupError(f"no limit for the layers of {family} on {backend}")
    return min(fitting, key=lambda row: (row.family == "*", row.backend == "*"))


def layer_failures(measured: Quantized, limit: LayerLimit) -> tuple[str, ...]:
    """Why the layers are not right: too few are quantized, or one adds more noise than allowed."""
    noise = np.asarray([layer.sqnr_db for layer in measured.layers])
    quantized, least = len(noise), limit.least_quantized * measured.multiplying
    failures = []
    if quantized < max(1.0, least):
        failures.append(
            f"{quantized} of {measured.multiplying} layers that sum products compute in int8; "
            f"expected at least {limit.least_quantized:.0%}"
        )
    if quantized and not np.median(noise) >= limit.median_db:
        failures.append(
            f"half of the {quantized} quantized layers have less than {np.median(noise):.1f} dB "
            f"over their noise on their own float32 input; allowed {limit.median_db:g} dB"
        )
    noisy = [layer for layer in measured.layers if not layer.sqnr_db >= limit.min_db]
    if noisy:
        worst = [f"{layer.name} ({layer.operator}) {layer.sqnr_db:.1f} dB" for layer in noisy[:3]]
        failures.append(
            f"{len(noisy)} of {quantized} quantized layers have less than {limit.min_db:g} dB "
            f"over their noise on their own float32 input: {', '.join(worst)}"
        )
    return tuple(failures)
