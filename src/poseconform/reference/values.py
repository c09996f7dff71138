"""What PyTorch computes for a model: the value that a flow is judged against.

`network` and `figures` compute it in a child process and write it; this module reads it, and needs
no torch. Float64 is the truth (`ref64`); the reference error is how far honest rounding at the
flow's precision goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import Detections, within_reach
from poseconform.compare.tolerances import Allowed, Tolerance, allowed_error
from poseconform.datasets.labeled import LabeledImage
from poseconform.reference.refinement import Refinement

FILE, FIGURES_FILE = "reference.npz", "figures.npz"
ROUNDING_FILE, STRESSED_FILE = "rounding.npz", "stressed.pth"
# Precision -> the one in whose honest runs its reference error is measured, if not in its own
RUNS_OF: Mapping[str, str] = {"int8": "fp32"}
DETECTION_OUTPUTS = ("dets.boxes", "dets.scores", "keypoints.xy", "keypoints.scores")


@dataclass(frozen=True)
class Sample:
    """One image `[H, W, 3]` (BGR) with one box: left, top, right, bottom in image px."""

    name: str
    image: NDArray[np.uint8]
    bbox: tuple[float, float, float, float]


def precision_computed(precision: str, bottom_up: bool) -> str:
    """The precision at which a reference is computed: several may share one.

    That of a bottom-up model holds near ties as well, whose margins each precision has its own of.
    """
    return precision if bottom_up else RUNS_OF.get(precision, precision)


def sample_of(figure: LabeledImage) -> Sample:
    """A labeled image with its first person."""
    left, top, right, bottom = map(float, figure.boxes[0])
    return Sample(str(figure.id), figure.pixels(), (left, top, right, bottom))


@dataclass(frozen=True)
class RefError:
    """PyTorch's own error of one output at the flow's precision, and the output's size."""

    max: float
    rms: float
    size_max: float
    size_rms: float


@dataclass(frozen=True)
class FigureReference:
    """PyTorch's keypoints on labeled figures, in float32, for a top-down model; in input px."""

    inputs: NDArray[np.float32]  # [S, 3, H, W] normalized network inputs
    keypoints: NDArray[np.float64]  # [S, K, 2] by the model's own codec
    truth: NDArray[np.float64]  # [S, K, 2]
    sizes: NDArray[np.float64]  # [S, 2] width and height of the boxes

    @property
    def pck(self) -> float:
        """Fraction of PyTorch's keypoints that are near the truth."""
        return within_reach(self.keypoints, self.truth, self.sizes)


@dataclass(frozen=True)
class FigureRounding:
    """What PyTorch's own rounding to a precision does to the keypoints of labeled figures."""

    keypoints: NDArray[np.float64]  # [S, K, 2] input px
    reach: NDArray[np.float64]  # [S, K] input px: how far honest rounding can move each


@dataclass(frozen=True)
class DetectionTruth:
    """Detections of one image in float64."""

    possible: Detections  # everything that some decision within the near-tie margins gives
    stable: NDArray[np.bool_]  # [D] given by every such decision
    base: NDArray[np.bool_]  # [D] given by the thresholds as they are
    # [D, K] keypoints that may be elsewhere, of people that were put together of maps
    keypoint_ties: NDArray[np.bool_] | None = None
    own: tuple[Detections, ...] = ()  # of PyTorch at the precision that is judged, a run each


def named_arrays(detections: Detections) -> dict[str, NDArray[Any]]:
    """The arrays of detections that there are, under the names of their fields."""
    arrays = {field.name: getattr(detections, field.name) for field in fields(Detections)}
    return {name: array for name, array in arrays.items() if array is not None}


def by_output(detections: Detections) -> dict[str, NDArray[np.floating]]:
    """The arrays of detections under the names of `DETECTION_OUTPUTS`."""
    d = detections
    parts = (d.boxes, d.scores, d.keypoints, d.keypoint_scores)
    return dict(zip(DETECTION_OUTPUTS, parts, strict=True))


@dataclass(frozen=True)
class Reference:
    """The reference of one model at one precision, for S samples.

    Bottom-up models have `detections`, and neither `outputs` nor `keypoints`.
    """

    inputs: NDArray[np.float32]  # [S, 3, H, W] normalized network inputs
    outputs: Mapping[str, NDArray[np.float64]]  # [S, ...] by name
    ref_errors: Mapping[str, RefError]  # by output (for detections: `DETECTION_OUTPUTS`)
    keypoints: NDArray[np.float64]  # [S, K, 2] decoded from `outputs`, input px
    scores: NDArray[np.float64]  # [S, K] of the keypoints
    argmax_gap: NDArray[np.float64]  # [S, K] best minus second best where the maximum decides
    shift_gap: NDArray[np.float64]  # [S, K] least difference that decides the quarter-cell step
    image_keypoints: tuple[NDArray[np.float64], ...]  # [P, K, 2], image px, mapped by mmpose
    image_scores: tuple[NDArray[np.float64], ...]  # [P] of the people, 1.0 for top-down models
    image_labels: tuple[NDArray[np.int64], ...]  # [P] classes of the people, 0 likewise
    detections: tuple[DetectionTruth, ...]
    facts: Mapping[str, Any]  # versions and seconds
    selected: NDArray[np.intp] | None = None  # keypoints of an image's; None for all, in order
    refinement: Refinement | None = None  # None: nothing is known of what follows a peak
    # [P, K] near ties of `image_keypoints`, of models whose maps are put together to people
    keypoint_ties: tuple[NDArray[np.bool_], ...] = ()

    @property
    def bottom_up(self) -> bool:
        """True if the model finds the people itself."""
        return bool(self.detections)

    def allowed(self, output: str, row: Tolerance) -> Allowed:
        """Allowed error of one output."""
        y = self.ref_errors[output]
        return allowed_error(row, y.size_max, y.size_rms, y.max, y.rms)

    def reach(self, row: Tolerance) -> NDArray[np.float64]:
        """`[S, K]` input px: how far an error within the allowed one can move a keypoint.

        Two values that differ by at most twice the allowed error can change places: another cell
        is the highest (infinite), or the quarter-cell step goes the other way.
        """
        allowed = max(self.allowed(name, row).max for name in self.outputs)
        known = self.refinement
        moved = np.zeros(self.argmax_gap.shape) if known is None else known.reach(allowed)
        flip = np.inf if known is None else known.flip_px
        moved = np.where(self.shift_gap <= 2 * allowed, np.maximum(moved, flip), moved)
        return np.where(self.argmax_gap <= 2 * allowed, np.inf, moved)

    def near_ties(self, row: Tolerance) -> NDArray[np.bool_]:
        """`[S, K]` True where an error within the allowed one can move a keypoint visibly."""
        return self.reach(row) > row.keypoint_px


def read_reference(folder: Path, facts: Mapping[str, Any]) -> Reference:
    """The reference that `network.write_reference` wrote into `folder`."""
    with np.load(folder / FILE) as data:
        arrays = {name: data[name] for name in data.files}
    samples = len(arrays["inputs"])
    return Reference(
        inputs=arrays["inputs"],
        outputs=_named(arrays, "output:"),
        ref_errors={n: RefError(*map(float, v)) for n, v in _named(arrays, "ref_error:").items()},
        keypoints=arrays["keypoints"],
        scores=arrays["scores"],
        argmax_gap=arrays["argmax_gap"],
        shift_gap=arrays["shift_gap"],
        image_keypoints=tuple(arrays[f"image_keypoints:{i}"] for i in range(samples)),
        image_scores=tuple(arrays[f"image_scores:{i}"] for i in range(samples)),
        image_labels=tuple(arrays[f"image_labels:{i}"] for i in range(samples)),
        detections=tuple(_truth(arrays, i) for i in range(samples) if f"boxes:{i}" in arrays),
        facts=facts,
        selected=arrays.get("selected"),
        refinement=_refinement(_named(arrays, "refinement:")),
        keypoint_ties=tuple(
            arrays[f"keypoint_ties:{i}"] for i in range(samples) if f"keypoint_ties:{i}" in arrays
        ),
    )


def read_figures(folder: Path) -> FigureReference:
    """The reference that `figures.write_figures` wrote into `folder`."""
    with np.load(folder / FIGURES_FILE) as data:
        return FigureReference(data["inputs"], data["keypoints"], data["truth"], data["sizes"])


def read_rounding(folder: Path) -> FigureRounding:
    """What `figures.write_rounding` wrote into `folder`."""
    with np.load(folder / ROUNDING_FILE) as data:
        return FigureRounding(data["keypoints"], data["reach"])


def _refinement(parts: Mapping[str, NDArray[Any]]) -> Refinement | None:
    if not parts:  # a bottom-up model's
        return None
    sizes = float(parts["cell_px"]), float(parts["flip_px"])
    return Refinement(parts["inverse"], parts["step"], parts["hessian"], parts["least"], *sizes)


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _truth(arrays: Mapping[str, NDArray[Any]], i: int) -> DetectionTruth:
    return DetectionTruth(
        _detections(arrays, "", i),
        arrays[f"stable:{i}"],
        arrays[f"base:{i}"],
        arrays.get(f"possible_ties:{i}"),
        tuple(_detections(arrays, f"own{r}_", i) for r in range(_runs(arrays, i))),
    )


def _runs(arrays: Mapping[str, NDArray[Any]], i: int) -> int:
    return next(run for run in count() if f"own{run}_boxes:{i}" not in arrays)


def _detections(arrays: Mapping[str, NDArray[Any]], prefix: str, i: int) -> Detections:
    parts = {field.name: arrays.get(f"{prefix}{field.name}:{i}") for field in fields(Detections)}
    return Detections(**parts)  # type: ignore[arg-type]
