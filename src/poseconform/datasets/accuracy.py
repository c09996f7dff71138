"""Keypoints of a flow on labeled figures: how far they moved, and what that costs.

Below float32 a tensor that is close says little of the keypoints, and a keypoint that moved says
much only if the weights find keypoints at all.  So a flow is run on figures that weights were
fitted to find, held out of the fitting, and its keypoints are compared with PyTorch's in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import keypoint_distances, keypoint_similarity, within_reach
from poseconform.compare.tolerances import LEAST_PCK, AccuracyLimit
from poseconform.reference.values import Sample
from poseconform.results.records import AccuracyRecord

if TYPE_CHECKING:
    from poseconform.matrix.cells import Model

ACCURACY_FILE = "accuracy.npz"
FIGURES = 100  # figures of a measurement: 1700 keypoints, so the 99th percentile is the 17th worst


@dataclass(frozen=True)
class Figure:
    """A image of one person whose joints are known.

    Attributes:
        sample: Image and box.
        keypoints: `[K, 2]` image px.
    """

    sample: Sample
    keypoints: NDArray[np.floating]


@dataclass(frozen=True)
class AccuracyReference:
    """What PyTorch finds in float32.

    Attributes:
        inputs: `[S, 3, H, W]` float32, normalized network inputs.
        keypoints: `[S, K, 2]` input px, by the model's own codec.
        truth: `[S, K, 2]` input px.
        sizes: `[S, 2]` width and height of the boxes, input px.
    """

    inputs: NDArray[np.float32]
    keypoints: NDArray[np.float64]
    truth: NDArray[np.float64]
    sizes: NDArray[np.float64]

    @property
    def pck(self) -> float:
        """Fraction of PyTorch's keypoints that are near the truth."""
        return within_reach(self.keypoints, self.truth, self.sizes)


def read_accuracy(folder: Path) -> AccuracyReference:
    """The reference that `reference_accuracy.write_accuracy` wrote into `folder`."""
    with np.load(folder / ACCURACY_FILE) as data:
        return AccuracyReference(data["inputs"], data["keypoints"], data["truth"], data["sizes"])


def why_not(model: Model, figures: Sequence[Figure]) -> AccuracyRecord | None:
    """A refusal where a model's accuracy on the figures cannot be measured at all."""
    if not figures:
        return AccuracyRecord(code="no-figures", reason="this run has no labeled figures")
    if model.bottom_up and model.weights == "fitted":
        return AccuracyRecord(
            code="people-not-matched",
            reason=f"people that {model.family} finds are not matched with the figures; "
            "suites/accuracy scores them",
        )
    if model.bottom_up:
        return AccuracyRecord(
            code="weights-not-fitted",
            reason=f"{model.weights} weights of {model.family} do not find the figures' joints",
        )
    return None


def measure(
    keypoints: NDArray[np.float64], reference: AccuracyReference
) -> tuple[AccuracyRecord, NDArray[np.floating]]:
    """What a flow's keypoints come to, and how far each moved, `[S, K]` input px.

    Args:
        keypoints: `[S, K, 2]` input px, decoded from the flow's outputs.
        reference: Of the same weights.

    Returns:
        The record refuses where PyTorch itself finds too few joints: such a model has nothing to
        lose.
    """
    if reference.pck < LEAST_PCK:
        refusal = AccuracyRecord(
            code="fp32-accuracy-too-low",
            reason=f"PyTorch itself finds {reference.pck:.1%} of the joints; a model that has "
            f"something to lose finds {LEAST_PCK:.0%}",
            pck_reference=reference.pck,
        )
        return refusal, np.zeros(0)
    moved = keypoint_distances(keypoints, reference.keypoints)
    pck = within_reach(keypoints, reference.truth, reference.sizes)
    record = AccuracyRecord(
        figures=len(keypoints),
        shift_mean_px=float(moved.mean()),
        shift_p99_px=float(np.percentile(moved, 99)),
        shift_max_px=float(moved.max()),
        oks=float(
            keypoint_similarity(keypoints, reference.keypoints, reference.sizes.prod(-1)).mean()
        ),
        pck=pck,
        pck_reference=reference.pck,
        points_lost=100 * (reference.pck - pck),
    )
    return record, moved


def failures(record: AccuracyRecord, limit: AccuracyLimit) -> tuple[str, ...]:
    """A sentence for each limit that is exceeded; NaN exceeds every limit."""
    assert record.oks is not None  # noqa: S101 - a record that refuses is never judged
    found = (
        ("mean shift of the keypoints", record.shift_mean_px, limit.mean_px, "px"),
        ("99th percentile of their shift", record.shift_p99_px, limit.p99_px, "px"),
        ("1 - OKS with PyTorch", 1 - record.oks, 1 - limit.oks, ""),
        ("change of PCK", abs(record.points_lost or 0.0), limit.points, "points"),
    )
    return tuple(
        f"{what} on {record.figures} figures: {value:.3g} {unit}".rstrip()
        + f"; allowed {allowed:.3g}"
        for what, value, allowed, unit in found
        if value is None or not value <= allowed
    )
