"""How much a deployed model may differ from PyTorch, and why.

    allowed = max(floor * size(y), k * ref_error)

`ref_error` is PyTorch's own error against float64 at the flow's precision (fp32: the envelope of
three float32 runs; fp16 and bf16: autocast at that precision), pooled over the images.  `size`
is the maximum or the RMS of the float64 output. Maximum and RMS are judged separately.

The numbers come from measurements over eight networks and three runtimes (November 2026): against
the envelope, ONNX Runtime needs k = 1.24 / 1.02 (maximum / RMS), while fp16-rounded weights cost
596 times PyTorch's error, TF32 weights 2,700 times and a single fp16 convolution 3 to 106 times.
So k = 5 leaves a factor of four for honest kernels and catches every one of those but the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Row = TypeVar("Row")


@dataclass(frozen=True)
class Tolerance:
    """The tolerance of the flows of a backend ('*' for any) and a precision."""

    backend: str
    precision: str
    k_max: float  # allowed multiple of the reference error's maximum
    k_rms: float  # the same of its RMS
    floor_max: float  # least allowed maximum error, as a fraction of the output's maximum
    floor_rms: float  # the same of the RMS error and the output's RMS
    keypoint_px: float  # largest error of a keypoint that is not a near tie, input px
    gate_keypoints: bool  # False where a flip on unfitted weights proves nothing
    reason: str
    gate_tensors: bool = True  # False where the error of a whole network is reported only


# ---- modify this table to add a flow's tolerance --------------------------------------------
# fmt: off
TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance("*", "fp32", 5.0, 5.0, 2e-6, 5e-7, 0.1, True,
              "four times what ONNX Runtime needed, three times OpenVINO's, twice LiteRT's (2.6, "
              "rtmpose_t); a fp16-rounded weight costs over 100 times as much"),
    Tolerance("ncnn", "fp32", 8.0, 8.0, 2e-6, 5e-7, 0.1, True,
              "its Winograd convolutions round more: it needed 2.67 / 2.72, and 2.36 / 2.35 "
              "without them"),
    Tolerance("*", "bf16", 3.0, 2.4, 1.6e-2, 4e-3, 16.0, False,
              "against autocast: on unfitted weights OpenVINO needed 1.13 / .97 and ncnn "
              ".93 / .94, on fitted ones OpenVINO 1.96 / 1.58 (simcc_mobilenetv2) and 1.71 / 1.28 "
              "(rtmpose_t), ncnn 1.74 / 1.72 (litehrnet_18) and 1.58 / 1.29 "
              "(simcc_mobilenetv2)"),
    Tolerance("*", "fp16", 3.0, 2.7, 2e-3, 5e-4, 8.0, False,
              "against autocast: on unfitted weights ONNX Runtime needed 1.01 / .73 and OpenVINO "
              "1.32 / .95, on fitted ones rtmpose_s 2.0 (RMS), rtmpose_t 1.85 / 1.32, others at "
              "most 1.34 / 1.1, regression models a quarter of this; flips are judged on figures"),
    Tolerance("ncnn", "fp16", 3.5, 3.0, 2e-3, 5e-4, 8.0, False,
              "every activation is stored in half precision, where autocast keeps some in "
              "float32: MSPN needed 2.0 (RMS)"),
    Tolerance("*", "int8", 1.0, 1.0, 0.1, 0.05, 16.0, False,
              "the noise of a whole network does not show that of a layer: layers and keypoints "
              "are judged, tensors are reported; a batch may round otherwise by a step of the "
              "output",
              gate_tensors=False),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NearTie:
    """How close two candidates of the reference must be for a flip to be benign."""

    iou: float  # distance of an IoU from the NMS threshold
    score: float  # distance of a score from the threshold or from the last row's score
    match_px: float  # farthest that a detection may be from its counterpart, input px
    order: float  # distance of two overlapping candidates' scores, either of which may then stay


# fp32: boxes of calibrated weights are exact to 1e-3 px, which moves the IoU of a box of 10 px by
# 1e-4, and scores to 1e-5; ten times that.  fp16: autocast moves both by about 300 times as much,
# bf16 by eight times as much again: of calibrated RTMO's detections, PyTorch's own in bf16 are up
# to 63 px from those in float64 (YOLOX-Pose's 17 px), and 115 of 300 have no counterpart within
# 16 px.  int8 moves them still more: matches there are for the report only.
# Which of two overlapping candidates stays hangs on the RMS error of scores (5e-4 of YOLOX-Pose in
# autocast, 4e-7 in float32): about one in 400 went the other way on ONNX Runtime and OpenVINO.
NEAR_TIES = {
    "bf16": NearTie(1e-1, 5e-2, 64.0, 6e-3),
    "fp16": NearTie(5e-2, 2e-2, 16.0, 7e-4),
    "fp32": NearTie(1e-3, 1e-4, 2.0, 1e-6),
    "int8": NearTie(1e-1, 5e-2, 16.0, 6e-3),
}

# Whole pipeline in image px: pre-processing is exact for uint8 images, so what remains is the
# tensor error; 0.1 px is a tenth of what any fault of the pipeline costs.
SDK_P99_PX = 0.1


def tolerance_for(
    backend: str, precision: str, rows: Sequence[Tolerance] = TOLERANCES
) -> Tolerance:
    """The row for a flow, the backend's own before '*'."""
    what = f"tolerance for {backend} {precision}"
    return _most_particular(rows, what, precision=precision, backend=backend)


@dataclass(frozen=True)
class Allowed:
    """Allowed maximum and RMS error of one output, in its own unit."""

    max: float
    rms: float


def allowed_error(
    row: Tolerance, size_max: float, size_rms: float, ref_error_max: float, ref_error_rms: float
) -> Allowed:
    """The formula of this module's docstring; monotone in every argument."""
    return Allowed(
        max=max(row.floor_max * size_max, row.k_max * ref_error_max),
        rms=max(row.floor_rms * size_rms, row.k_rms * ref_error_rms),
    )


def headroom(error_max: float, error_rms: float, allowed: Allowed) -> float:
    """Error over allowed error, the worse of maximum and RMS; 1.0 is the limit.

    An output that is exactly zero allows nothing: any error then has infinite headroom.  So has an
    error that is not a number.
    """
    ratios = []
    for error, limit in ((error_max, allowed.max), (error_rms, allowed.rms)):
        ratio = 0.0 if error == 0 else error / limit if limit > 0 else math.inf
        ratios.append(math.inf if math.isnan(ratio) else ratio)
    return max(ratios)


@dataclass(frozen=True)
class ShiftLimit:
    """How far the keypoints of a top-down model may move on labeled figures, in input px."""

    mean_px: float
    p99_px: float
    oks: float  # least mean similarity with PyTorch's keypoints
    points: float  # change of PCK@.05 to either side, points of a hundred


@dataclass(frozen=True)
class AccuracyLimit:
    """How much accuracy a family ('*' for any) may lose or win against PyTorch in float32.

    `points` of a hundred limits the change of AP, AR and PCK on a labeled data set, through the
    client, to either side: a deployment that is better than its own model was measured on
    something else.
    """

    family: str
    precision: str
    points: float
    shift: ShiftLimit | None  # None where no keypoints are compared on figures
    reason: str
    backend: str = "*"  # a backend that has limits of its own


# Below these PyTorch itself finds too few joints or people for a loss to be seen.
LEAST_PCK = 0.8
LEAST_AP = 0.5


# ---- modify these tables to add a limit ------------------------------------------------------
# fmt: off
# Shift, measured on 100 figures, static: mean / 99th percentile in px, OKS; PCK changes by 0.
# RTMPose-t and SimCC-MobileNetV2 have trained weights, the others fitted ones.
#            ncnn                ONNX Runtime        OpenVINO
# fp16
# Hourglass  .001 / 0, 1         .004 / 0, .99999    0 / 0, 1
# HRNet      .007 / 0, .99996    .008 / 0, .99993    .010 / 0, .99992
# MSPN       .002 / 0, .99998    .007 / 0, .99999    .002 / 0, .99998
# RTMPose    .010 / .5, .99999   .069 / .5, .99992   .011 / .5, .99999
# SimCC      .090 / .5, .99988   .32 / 1.0, .9996    .089 / .5, .99988
# bf16: where the outputs themselves are bf16, the bins about a peak are equal and the first one
# is taken, in PyTorch too. OpenVINO's last layers write float32.
# Hourglass  .037 / 2.0, .9999                       .049 / 2.0, .9999
# HRNet      .31 / 2.8, .9981                        .29 / 2.8, .9982
# MSPN       .008 / 0, .99999                        .011 / 0, .99995
# RTMPose    .48 / 1.1, .9993                        .075 / .5, .9999
# SimCC      1.22 / 2.2, .9959                       .41 / 1.1, .9994
# int8
# Hourglass  .089 / 2.0, .9997   .11 / 2.0, .9995    .089 / 2.0, .9996
# HRNet      .31 / 4.5, .9981    .67 / 6.0, .9958    .69 / 6.0, .9957
# MSPN       .089 / 2.0, .9997   .073 / 2.0, .9998   .059 / 2.0, .9998
# RTMPose    .18 / .7, .9998     .25 / 1.0, .9997    .48 / 1.5, .9994
# SimCC      .13 / .7, .9999     .16 / .7, .9998     .11 / .7, .9999
# LiteRT, fp16: RTMPose .010 / .5, .99999; SimCC .090 / .5, .99988
# LiteRT, int8: HRNet .68 / 6.0, .9957; MSPN .072 / 2.0, .9998; RTMPose .27 / 1.0, .9997;
#               SimCC .17 / 1.0, .9998
# RTMPose calibrated on noise: 15.9 / 95, .73; with its last layers quantized: .75 / 1.6, .9985.
# A limit is half as much again, or a little more; .3 points are what an image or two can do.
#
# Points, measured on the drawn images: the largest change of AP, AR or PCK, static flows of ONNX
# Runtime, OpenVINO and ncnn; `tox -e accuracy` prints them:
#            fp32   fp16   int8
# HRNet             0      .3     (ONNX Runtime and OpenVINO)
# MSPN       0      0      0
# RTMPose    0      0      0
# SimCC      0      0      0
ACCURACY_LIMITS: tuple[AccuracyLimit, ...] = (
    AccuracyLimit("*", "bf16", 0.5, ShiftLimit(0.5, 4.5, 0.997, 0.3),
                  "heatmaps: HRNet .31 / 2.8 px: peaks that move go to the next cell"),
    AccuracyLimit("*", "fp16", 0.3, ShiftLimit(0.05, 1.0, 0.9998, 0.3),
                  "heatmaps: .010 / 0 px; a quarter-cell step the other way is 1 px"),
    AccuracyLimit("*", "fp32", 0.3, None, "nothing changes by more than an image or two can do"),
    AccuracyLimit("Hourglass", "bf16", 0.5, ShiftLimit(0.1, 3.0, 0.9997, 0.3), ".049 / 2.0 px"),
    AccuracyLimit("Hourglass", "int8", 0.5, ShiftLimit(0.2, 3.0, 0.999, 0.3), ".11 / 2.0 px"),
    AccuracyLimit("*", "int8", 0.5, ShiftLimit(1.1, 9.0, 0.993, 0.3),
                  "heatmaps: HRNet .69 / 6.0 px, of fitted weights"),
    AccuracyLimit("MSPN", "bf16", 0.5, ShiftLimit(0.05, 1.0, 0.9998, 0.3), ".011 / 0 px"),
    AccuracyLimit("MSPN", "int8", 0.3, ShiftLimit(0.15, 3.0, 0.9995, 0.3), ".089 / 2.0 px"),
    AccuracyLimit("RTMPose", "bf16", 0.5, ShiftLimit(0.15, 1.0, 0.9998, 0.3),
                  ".075 / .5 px on OpenVINO"),
    AccuracyLimit("RTMPose", "bf16", 0.5, ShiftLimit(0.75, 1.7, 0.999, 0.3),
                  ".48 / 1.1 px: outputs in bf16 tie, in PyTorch too", "ncnn"),
    AccuracyLimit("RTMPose", "fp16", 0.3, ShiftLimit(0.15, 1.0, 0.9998, 0.3),
                  ".069 / .5 px: bins are half a pixel wide"),
    AccuracyLimit("RTMPose", "int8", 0.3, ShiftLimit(0.4, 1.5, 0.9994, 0.3),
                  ".25 / 1.0 px on ONNX Runtime"),
    AccuracyLimit("RTMPose", "int8", 0.3, ShiftLimit(0.75, 2.3, 0.999, 0.3),
                  ".48 / 1.5 px", "openvino"),
    AccuracyLimit("SimCC", "bf16", 0.5, ShiftLimit(0.65, 1.7, 0.999, 0.3),
                  ".41 / 1.1 px on OpenVINO"),
    AccuracyLimit("SimCC", "bf16", 0.5, ShiftLimit(1.9, 3.4, 0.9935, 0.3),
                  "1.22 / 2.2 px, OKS .9959: outputs in bf16 tie, in PyTorch too", "ncnn"),
    AccuracyLimit("SimCC", "fp16", 0.3, ShiftLimit(0.5, 1.5, 0.9993, 0.3),
                  ".32 / 1.0 px on ONNX Runtime: bins are half a pixel wide"),
    AccuracyLimit("SimCC", "int8", 0.3, ShiftLimit(0.25, 1.1, 0.9997, 0.3), ".16 / .7 px"),
)
# fmt: on
# ----------------------------------------------------------------------------------------------


def accuracy_limit_for(
    family: str, precision: str, backend: str, rows: Sequence[AccuracyLimit] = ACCURACY_LIMITS
) -> AccuracyLimit:
    """The row for a flow, the family's own before '*', then the backend's."""
    what = f"limit for the accuracy of {family} {precision} flows"
    return _most_particular(rows, what, precision=precision, family=family, backend=backend)


def _most_particular(rows: Sequence[Row], what: str, **wanted: str) -> Row:
    """The row whose fields are these or '*', with '*' in as few and as late fields as can be.

    Raises:
        LookupError: There is no row: a flow without a measured limit must not pass.
    """
    fitting = [r for r in rows if all(getattr(r, k) in {v, "*"} for k, v in wanted.items())]
    if not fitting:
        raise LookupError(f"no {what}")
    return min(fitting, key=lambda r: [getattr(r, k) == "*" for k in wanted])
