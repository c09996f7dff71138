"""A whole deployment on a labeled data set, against PyTorch on the same: points lost or won.

AP and PCK are blunt (a shift of a pixel moves neither), which is why the suites judge tensors and
single keypoints too; they are what people publish, and they see faults of the whole way from
image to keypoint.  The limits have two sides: a deployment that finds more than its own model
was measured on something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from poseconform.datasets import answers
from poseconform.datasets.labeled import DataSet
from poseconform.datasets.scoring import People, Score, score
from poseconform.isolation.artifacts import content_key
from poseconform.isolation.child import ChildFailure
from poseconform.judge.judge import Judge
from poseconform.judge.stages import StageFailure
from poseconform.matrix.cells import Cell, Model


@dataclass(frozen=True)
class PointsLimit:
    """How many points a flow may differ from PyTorch, to either side.

    Attributes:
        family: Row of the support table, '*' for any.
        precision: Precision of the flow.
        points: Largest difference of AP, AR and PCK, points of a hundred.
        reason: What was measured.
    """

    family: str
    precision: str
    points: float
    reason: str


# ---- modify this table to add a limit --------------------------------------------------------
# fmt: off
# Measured on the drawn images, the largest change of AP, AR or PCK in points, static flows of
# ONNX Runtime, OpenVINO, ncnn and TorchScript (HRNet, MSPN and YOLOX-Pose: the first two);
# `tox -e accuracy` prints them:
#             fp32   fp16   int8
# HRNet              0      .3
# LiteHRNet   0      0      1.0
# MSPN               0      0
# RTMPose     0      .7     6.5    (6.9 on ncnn in fp16, which is declared to fail)
# SimCC       .13    .27    1.7
# YOLOX-Pose  0      .02    6.6
# A limit is half as much again, or a little more; .3 is what a image or two can do.
POINTS_LIMITS: tuple[PointsLimit, ...] = (
    PointsLimit("*", "fp32", 0.3, "SimCC .13 of AP on ONNX Runtime and OpenVINO"),
    PointsLimit("*", "bf16", 1.5, "PCK changes by .41 at most (suites/quantization/test_bf16.py); "
                "no deploy config asks for it"),
    PointsLimit("*", "fp16", 0.5, "SimCC .27 of AP on ncnn, heatmaps 0"),
    PointsLimit("*", "int8", 1.7, "LiteHRNet 1.0 of AP on OpenVINO"),
    PointsLimit("RTMPose", "fp16", 1.2, ".69 of AP on ONNX Runtime"),
    PointsLimit("RTMPose", "int8", 10.0, "6.5 of PCK and 6.3 of AP on OpenVINO: its fitted peaks "
                "are broad"),
    PointsLimit("SimCC", "int8", 2.7, "1.7 of AP on OpenVINO"),
    PointsLimit("YOLOX-Pose", "int8", 10.0, "6.6 of PCK and 5.4 of AP on OpenVINO, 3.3 of AP on "
                "ONNX Runtime, 80 figures"),
)
# fmt: on
# ----------------------------------------------------------------------------------------------

# Below this PyTorch itself finds too little for a loss to be seen.
LEAST_AP = 0.5


def limit_for(family: str, precision: str) -> PointsLimit:
    """The row for a flow, the family's own before '*'.

    Raises:
        LookupError: Nobody has measured the precision.
    """
    rows = [r for r in POINTS_LIMITS if r.precision == precision and r.family in {family, "*"}]
    if not rows:
        raise LookupError(f"no limit for the accuracy of {precision} flows")
    return min(rows, key=lambda row: row.family == "*")


def refusal(model: Model, reference: Score) -> str:
    """Why accuracy says nothing of this model, as `<code>: <reason>`; '' where it does."""
    if reference.ap >= LEAST_AP:
        return ""
    return (
        f"fp32-accuracy-too-low: PyTorch itself has AP {reference.ap:.3f} with {model.weights} "
        f"weights; at least {LEAST_AP} is needed for a loss to be seen"
    )


def failures(found: Score, reference: Score, limit: PointsLimit) -> tuple[str, ...]:
    """A sentence for each measure that differs by more than the limit, to either side."""
    pairs = (
        ("AP", found.ap, reference.ap), ("AR", found.ar, reference.ar),
        ("PCK@.05", found.pck, reference.pck),
    )  # fmt: skip
    return tuple(
        f"{name} {100 * ours:.2f}, PyTorch {100 * theirs:.2f}: {100 * (ours - theirs):+.2f} "
        f"points; allowed {limit.points} to either side"
        for name, ours, theirs in pairs
        if not abs(100 * (ours - theirs)) <= limit.points
    )


def pytorch_score(judge: Judge, model: Model, data: DataSet) -> Score:
    """What mmpose's own estimator comes to, in float32, with the model's weights."""
    key = ("dataset", model.name, model.weights, data.key)
    found: list[People] = judge.once(key, lambda: _by_mmpose(judge, model, data))
    return score(data, found, model.bottom_up)


def _by_mmpose(judge: Judge, model: Model, data: DataSet) -> list[People]:
    parts = judge.reference_parts(model, [])
    entry = judge.cache.get_or_make(
        content_key("dataset", {**parts, "data": data.key, "images": len(data.images)}),
        lambda folder: judge.in_torch(
            "poseconform.datasets.answers:write_by_mmpose",
            model.config, judge.checkpoint(model), list(data.images), str(folder),
            timeout=judge.limits.run * max(10, len(data.images)),
        ),
    )  # fmt: skip
    return answers.read(entry.path)


def flow_score(judge: Judge, cell: Cell, data: DataSet) -> Score:
    """What the SDK client comes to with the cell's folder. Fails at 'sdk'."""
    folder = judge.conversion(cell).folder
    with judge.child(f"{cell.id}-dataset") as child:
        try:
            found: list[People] = child.call(
                "poseconform.datasets.answers:by_client",
                str(folder), list(data.images), cell.model.bottom_up,
                timeout=judge.limits.run * max(10, len(data.images)),
            )  # fmt: skip
        except ChildFailure as failure:
            raise StageFailure.from_child("sdk", failure) from failure
    return score(data, found, cell.model.bottom_up)
