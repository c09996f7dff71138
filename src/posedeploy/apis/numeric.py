"""What a graph outputs against PyTorch in float64, and how far honest rounding may be from it.

    allowed = max(floor * largest of the output, k * error of PyTorch's own rounding)

It is the rule of the judge (`poseconform.compare.tolerances`), for the largest error alone and for
a few images. The judge has its own code, and looks at more.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.apis.matching import FAR_PX
from posedeploy.heads import KEYPOINTS, Stage
from posedeploy.sdk.decode.assignment import assigned

if TYPE_CHECKING:
    from torch import nn

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """How much a precision may differ."""

    k: float  # allowed multiple of the error of PyTorch's own rounding
    floor: float  # least allowed error, as a share of the largest value
    score_tie: float  # distance of a score from a limit within which a person may be lost or won
    match_px: float  # farthest that a person's keypoints may be from the counterpart's, input px


# ---- modify this table to add a precision ----------------------------------------------------
# k, floor, ties and distances are those of the judge's table, which has the measurements; int8 has
# no row: the noise of a whole network does not show that of a layer.
RULES: Mapping[str, Rule] = {
    "bf16": Rule(3.0, 1.6e-2, 5e-2, 64.0),
    "fp16": Rule(3.0, 2e-3, 2e-2, 16.0),
    "fp32": Rule(5.0, 2e-6, 1e-4, 2.0),
}
K_OF_BACKEND: Mapping[tuple[str, str], float] = {
    ("ncnn", "fp16"): 3.5,  # every activation is stored in half precision
    ("ncnn", "fp32"): 8.0,  # its Winograd convolutions round more
}
# ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutputError:
    """One output, over all images."""

    name: str
    error: float  # largest distance from float64, in the output's own unit
    allowed: float  # infinite where it is not judged (int8)
    size: float  # largest value of the reference

    @property
    def wrong(self) -> bool:
        """True if the error is larger than allowed, or no number."""
        return not self.error <= self.allowed


@dataclass(frozen=True)
class Numbers:
    """The outputs of a graph against float64; `faults` names what no error can be measured of."""

    outputs: tuple[OutputError, ...] = ()
    faults: tuple[str, ...] = ()


def compare_numbers(
    outputs: Sequence[Arrays],
    inputs: Sequence[NDArray[np.float32]],
    *,
    network: nn.Module,
    stage: Stage,
    flow: tuple[str, str],
    detection: Detection | None = None,
) -> Numbers:
    """Compare a graph's outputs with PyTorch's on the same inputs.

    Args:
        outputs: One an image: what the graph outputs, `[1, …]`, by the names of `stage`.
        inputs: What it was given, each `[1, 3, H, W]`.
        network: PyTorch's, in float32, which ends at the same stage.
        stage: Where the graph ends.
        flow: Backend and precision that it computes in.
        detection: For a graph that finds the people itself, how they are matched; its boxes,
            scores, keypoints and their scores are then compared apart from each other.
    """
    names, precision = stage.output_names, flow[1]
    truth = run_network(copy.deepcopy(network).double(), names, inputs, np.float64)
    if wrong := tuple(_other_shapes(outputs, truth, detection is not None)):
        return Numbers(faults=wrong)
    align = detection.align if detection else _stacked
    from posedeploy.precision.rounding import roundings

    own: dict[str, float] = {}
    for ready in roundings(network, precision):
        run = align(run_network(ready, names, inputs, np.float32), truth)
        for name, error in _errors(*run).items():
            own[name] = max(error, own.get(name, 0.0))
    got, expected = align(outputs, truth)
    judged = []
    for name, error in _errors(got, expected).items():
        size = float(np.abs(expected[name]).max(initial=0.0))
        allowed = allowed_error(stage, name, flow, size, own.get(name, 0.0))
        judged.append(OutputError(name, error, allowed, size))
    faults = detection.faults(outputs, truth) if detection and precision in RULES else ()
    return Numbers(tuple(judged), tuple(faults))


def allowed_error(
    stage: Stage, name: str, flow: tuple[str, str], size: float, own_error: float
) -> float:
    """The formula of this module's docstring; infinite for what is not judged by it.

    That is int8, and the keypoints of a graph that ends with them: a near tie there is a whole
    cell or bin, which `comparing` tells from a fault.
    """
    rule = RULES.get(flow[1])
    if rule is None or (stage.name == KEYPOINTS and name == "keypoints"):
        return float("inf")
    return max(rule.floor * size, K_OF_BACKEND.get(flow, rule.k) * own_error)


def _other_shapes(
    outputs: Sequence[Arrays], truth: Sequence[Arrays], people: bool
) -> Iterator[str]:
    """Outputs of other shapes than PyTorch's; a detector may have another number of rows."""
    for name, expected in truth[0].items():
        found = outputs[0][name].shape
        first = 2 if people else 1
        if found[first:] != expected.shape[first:] or len(found) != expected.ndim:
            shapes = [f"[N, {', '.join(map(str, s[1:]))}]" for s in (found, expected.shape)]
            yield f"{name} is of shape {shapes[0]}, and PyTorch's of {shapes[1]}"


def _stacked(found: Sequence[Arrays], truth: Sequence[Arrays]) -> tuple[Arrays, Arrays]:
    names = truth[0]
    stacked = [
        {name: np.concatenate([one[name] for one in side]) for name in names}
        for side in (found, truth)
    ]
    return stacked[0], stacked[1]


def _errors(got: Arrays, expected: Arrays) -> dict[str, float]:
    return {
        name: float(np.abs(got[name].astype(np.float64) - array).max(initial=0.0))
        for name, array in expected.items()
    }


@dataclass(frozen=True)
class Detection:
    """How a detector's rows `dets [1, M, 5]` and `keypoints [1, M, K, 3]` are compared."""

    precision: str
    score_threshold: float  # of the model's `test_cfg`
    input_size: tuple[int, int]  # (W, H) in px

    @property
    def _rule(self) -> Rule:
        return RULES.get(self.precision, RULES["fp16"])

    def align(self, found: Sequence[Arrays], truth: Sequence[Arrays]) -> tuple[Arrays, Arrays]:
        """The people that both found, in the same order: two sets of arrays, by their parts."""
        sides: tuple[list[Arrays], list[Arrays]] = ([], [])
        for got, expected in zip(found, truth, strict=True):
            rows = self._matched(got, expected)
            for side, one, index in zip(sides, (got, expected), rows, strict=True):
                dets, keypoints = one["dets"][0, index], one["keypoints"][0, index]
                side.append({
                    "boxes": dets[:, :4], "scores": dets[:, 4:5],
                    "keypoints": keypoints[..., :2], "keypoint scores": keypoints[..., 2:],
                })  # fmt: skip
        return _stacked(*sides)

    def _matched(self, got: Arrays, expected: Arrays) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Rows of the same people: near keypoints and scores, in the best assignment."""
        rows = [np.flatnonzero(one["dets"][0, :, 4] > 0) for one in (got, expected)]
        points = [
            one["keypoints"][0, index, :, :2].astype(np.float64)
            for one, index in zip((got, expected), rows, strict=True)
        ]
        apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1).mean(axis=-1)
        cost = np.nan_to_num(apart, nan=FAR_PX, posinf=FAR_PX)
        left, right = assigned(np.minimum(cost, FAR_PX))
        near = cost[left, right] <= self._rule.match_px
        return rows[0][left[near]], rows[1][right[near]]

    def faults(self, found: Sequence[Arrays], truth: Sequence[Arrays]) -> Iterator[str]:
        """What makes the rows others than PyTorch's, over all images, as words."""
        below: list[float] = []
        beyond: list[float] = []
        missing = extra = 0
        for got, expected in zip(found, truth, strict=True):
            scores = got["dets"][0, :, 4]
            low = (scores > 0) & (scores < self.score_threshold - self._rule.score_tie)
            below += scores[low].tolist()
            reach = self._reach(got["dets"][0, scores > 0, :4])
            beyond += reach[reach > self._rule.match_px].tolist()
            rows = self._matched(got, expected)
            own = expected["dets"][0, :, 4]
            lost = self._unmatched(own, rows[1], scores)
            added = self._unmatched(np.where(low, 0, scores), rows[0], own)
            missing, extra = missing + lost, extra + added
        if below:
            yield (
                f"{len(below)} rows have scores of up to {max(below):.3g}, below the model's "
                f"score_thr {self.score_threshold:g}: a row that is no person must be zero"
            )
        if beyond:
            yield (
                f"{len(beyond)} boxes reach out of the input, by up to {max(beyond):.4g} px: "
                "mmpose clips them"
            )
        if missing or extra:
            yield f"{missing} of PyTorch's people are missing, and {extra} are not PyTorch's"

    def _reach(self, boxes: NDArray[Any]) -> Floats:
        """How far boxes `[R, 4]` reach out of the input, px."""
        limit = np.array([*self.input_size, *self.input_size], np.float64)
        return np.asarray(np.maximum(-boxes, boxes - limit).max(axis=-1, initial=0.0), np.float64)

    def _unmatched(
        self, scores: NDArray[Any], matched: NDArray[np.intp], others: NDArray[Any]
    ) -> int:
        """People without a counterpart on the other side, whose rows have scores `others`.

        Near ties are left out: at the threshold, and where all rows are taken at the last one.
        """
        alone = np.setdiff1d(np.flatnonzero(scores > 0), matched)
        last = float(others.min(initial=np.inf))
        limit = max(self.score_threshold, last if 0 < last < np.inf else 0.0)
        return int((scores[alone] > limit + self._rule.score_tie).sum())


def run_network(
    network: nn.Module, names: Sequence[str], inputs: Sequence[NDArray[np.float32]], dtype: Any
) -> list[Arrays]:
    """The outputs of a network in PyTorch, float64, by these names: one entry an input."""
    import torch

    with torch.no_grad():
        results = [network(torch.from_numpy(array.astype(dtype))) for array in inputs]
    return [
        {name: output.double().numpy() for name, output in zip(names, outputs, strict=True)}
        for outputs in results
    ]
