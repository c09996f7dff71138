"""How much a deployed model may differ from PyTorch, and why.

    allowed = max(floor * size(y), k * yardstick)

`yardstick` is PyTorch's own error against float64 at the flow's precision (fp32: the envelope of
three float32 runs; fp16 and bf16: autocast at that precision), pooled over the pictures.  `size`
is the maximum or the RMS of the float64 output.  Maximum and RMS are judged separately and both
must hold.

The numbers come from measurements over eight networks and three runtimes (November 2026): against
the envelope, ONNX Runtime needs k = 1.24 / 1.02 (maximum / RMS), while fp16-rounded weights cost
596 times PyTorch's error, TF32 weights 2,700 times and a single fp16 convolution 3 to 106 times.
So k = 5 leaves a factor of four for honest kernels and catches every one of those but the last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tolerance:
    """One row.

    Attributes:
        backend: Backend name, '*' for any.
        precision: Precision of the flow.
        k_max: Allowed multiple of the yardstick's maximum error.
        k_rms: Allowed multiple of the yardstick's RMS error.
        floor_max: Least allowed maximum error, as a fraction of the output's maximum.
        floor_rms: Least allowed RMS error, as a fraction of the output's RMS.
        keypoint_px: Largest error of a keypoint that is not a near tie, input px.
        gate_keypoints: False where a flip on unfitted weights proves nothing.
        reason: Why these numbers.
    """

    backend: str
    precision: str
    k_max: float
    k_rms: float
    floor_max: float
    floor_rms: float
    keypoint_px: float
    gate_keypoints: bool
    reason: str


# ---- modify this table to add a flow's tolerance --------------------------------------------
# fmt: off
TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance("*", "fp32", 5.0, 5.0, 2e-6, 5e-7, 0.1, True,
              "four times what ONNX Runtime and three times what OpenVINO needed; a fp16-rounded "
              "weight costs over 100 times as much"),
    Tolerance("ncnn", "fp32", 8.0, 8.0, 2e-6, 5e-7, 0.1, True,
              "its Winograd convolutions round more: it needed 2.67 / 2.72, and 2.36 / 2.35 "
              "without them"),
    Tolerance("*", "fp16", 2.0, 1.5, 2e-3, 5e-4, 8.0, False,
              "against autocast: ONNX Runtime needed 1.01 / .73 and OpenVINO 1.32 / .95; flips "
              "are common on unfitted weights and prove nothing there"),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NearTie:
    """How close two candidates of the reference must be for a flip to be benign.

    Attributes:
        iou: Distance of an IoU from the NMS threshold.
        score: Distance of a score from the threshold or from the last place kept.
        match_px: Farthest a detection may be from its counterpart and still be matched, input px.
    """

    iou: float
    score: float
    match_px: float


# fp32: boxes of calibrated weights are exact to 1e-3 px, which moves the IoU of a box of 10 px by
# 1e-4, and scores to 1e-5; ten times that.  fp16: autocast moves both by about 300 times as much.
NEAR_TIES = {"fp32": NearTie(1e-3, 1e-4, 2.0), "fp16": NearTie(5e-2, 2e-2, 16.0)}

# Whole pipeline in image px: pre-processing is exact for uint8 pictures, so what remains is the
# tensor error; 0.1 px is a tenth of what any fault of the pipeline costs.
SDK_P99_PX = 0.1


def tolerance_for(backend: str, precision: str) -> Tolerance | None:
    """The row for a flow; None if nobody has measured it."""
    rows = [t for t in TOLERANCES if t.precision == precision and t.backend in {backend, "*"}]
    return min(rows, key=lambda row: row.backend == "*", default=None)


@dataclass(frozen=True)
class Allowed:
    """Allowed maximum and RMS error of one output, in the output's own unit."""

    max: float
    rms: float


def allowed_error(
    row: Tolerance, size_max: float, size_rms: float, yardstick_max: float, yardstick_rms: float
) -> Allowed:
    """The formula of this module's docstring; monotone in every argument."""
    return Allowed(
        max=max(row.floor_max * size_max, row.k_max * yardstick_max),
        rms=max(row.floor_rms * size_rms, row.k_rms * yardstick_rms),
    )


def headroom(error_max: float, error_rms: float, allowed: Allowed) -> float:
    """Error over allowed error, the worse of maximum and RMS; 1.0 is the limit.

    An output that is exactly zero allows nothing: any error then has infinite headroom.  So has an
    error that is not a number.
    """
    return max(_ratio(error_max, allowed.max), _ratio(error_rms, allowed.rms))


def _ratio(error: float, limit: float) -> float:
    if error == 0:
        return 0.0
    ratio = error / limit if limit > 0 else math.inf
    return math.inf if math.isnan(ratio) else ratio
