"""Detections by mmpose's own `predict`, in float64, and how close its decisions were.

`predict` is run with the thresholds as they are, with both moved to either side by the near-tie
margins, and with candidates taken in other orders that their scores allow: what every run keeps is
stable, what only some keep is a near tie.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.compare.metrics import Detections, match_detections
from poseconform.compare.tolerances import NEAR_TIES, NearTie
from poseconform.reference.errors import REF_ERRORS, ref_error
from poseconform.reference.values import DETECTION_OUTPUTS, by_output

ORDERS = 16  # orders that are tried: a pair that may swap within the margin does in some of them


def detection_arrays(model: Any, batch: dict[str, Any], precision: str) -> dict[str, NDArray[Any]]:
    """The arrays of `reference.npz` for a bottom-up model."""
    ties = NEAR_TIES[precision]
    inputs, samples = batch["inputs"], batch["data_samples"]
    double = copy.deepcopy(model).double()
    exact, image = _predictions(double, inputs.double(), samples, _shifts(ties), ties)
    truth = [variants[0] for variants in exact]
    arrays: dict[str, NDArray[Any]] = {"inputs": inputs.numpy()}
    for i, variants in enumerate(exact):
        arrays |= {f"{name}:{i}": array for name, array in _truth(variants).items()}
        arrays[f"image_keypoints:{i}"], arrays[f"image_scores:{i}"] = image[i]
    runs = []
    for run in REF_ERRORS[precision]:
        with run(model) as (ready, cast):
            rounded, _ = _predictions(ready, cast(inputs), samples, ((0.0, 0.0),))
        runs.append(_matched_errors([variants[0] for variants in rounded], truth, ties))
    for name in DETECTION_OUTPUTS:
        # matched sets may differ between runs, so the envelope is the worst run, not element-wise
        worst = max((r[name] for r in runs), key=lambda e: float(e.max(initial=0.0)))
        size = np.concatenate([by_output(d)[name].ravel() for d in truth])
        arrays[f"ref_error:{name}"] = ref_error(worst, size)
    return arrays | {k: np.zeros(0) for k in ("keypoints", "scores", "argmax_gap", "shift_gap")}


def _shifts(ties: NearTie) -> tuple[tuple[float, float], ...]:
    """(IoU, score) shifts: as they are first, then every combination of the margins."""
    sides = [(i * ties.iou, s * ties.score) for i in (-1, 1) for s in (-1, 1)]
    return ((0.0, 0.0), *sides)


def _predictions(
    model: Any,
    inputs: torch.Tensor,
    samples: list[Any],
    shifts: Sequence[tuple[float, float]],
    ties: NearTie | None = None,
) -> tuple[list[tuple[Detections, ...]], list[tuple[NDArray[Any], NDArray[Any]]]]:
    """Detections of each image with each pair of shifts, and in each order that `ties` allow.

    The second list has keypoints `[P, K, 2]` and scores `[P]` of the first pair in image px.
    """
    variants, image = [], []
    with torch.no_grad():
        for one, sample in zip(torch.split(inputs, 1), samples, strict=True):
            with _head_run_once(model, one):
                results = [model.head.predict(None, [sample], _moved(model, s)) for s in shifts]
                for seed in range(ORDERS if ties else 0):
                    with _in_another_order(model, ties.order if ties else 0.0, seed):
                        results.append(model.head.predict(None, [sample], dict(model.test_cfg)))
            variants.append(tuple(_as_detections(result[0]) for result in results))
            mapped = model.add_pred_to_datasample(results[0], None, [copy.deepcopy(sample)])[0]
            instances = mapped.pred_instances
            image.append((np.asarray(instances.keypoints), np.asarray(instances.bbox_scores)))
    return variants, image


def _moved(model: Any, shift: tuple[float, float]) -> dict[str, Any]:
    config = dict(model.test_cfg)
    shifts = zip(("nms_thr", "score_thr"), shift, strict=True)
    return config | {name: config[name] + by for name, by in shifts}


@contextlib.contextmanager
def _head_run_once(model: Any, inputs: torch.Tensor) -> Iterator[None]:
    """Let several `predict` calls on one image share one pass through the network."""
    raw = model.head.forward(model.extract_feat(inputs))
    model.head.forward = lambda _feats: raw  # an attribute of this instance only
    try:
        yield
    finally:
        del model.head.forward


@contextlib.contextmanager
def _in_another_order(model: Any, margin: float, seed: int) -> Iterator[None]:
    """Suppression that takes candidates in an order that their scores allow within the margin.

    Of two overlapping candidates the one that scores higher stays; where they score alike, either
    may. The scores that are returned stay as they are.
    """
    module = sys.modules[type(model.head).__module__]
    exact = module.nms_torch
    rng = np.random.default_rng(seed)

    def reordered(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
        noise = rng.uniform(-margin, margin, tuple(scores.shape))
        indices: torch.Tensor = exact(boxes, scores + torch.from_numpy(noise), threshold)
        return indices

    vars(module)["nms_torch"] = reordered
    try:
        yield
    finally:
        vars(module)["nms_torch"] = exact


def _as_detections(result: Any) -> Detections:
    return Detections(
        np.asarray(result.bboxes, np.float64).reshape(-1, 4),
        np.asarray(result.scores, np.float64).reshape(-1),
        np.asarray(result.keypoints, np.float64),
        np.asarray(result.keypoint_scores, np.float64),
    )


def _truth(variants: tuple[Detections, ...]) -> dict[str, NDArray[Any]]:
    """The union of all variants by descending score, and which are in all, and in the first."""
    count: dict[tuple[float, ...], list[int]] = {}
    first: dict[tuple[float, ...], tuple[int, int]] = {}
    for v, detections in enumerate(variants):
        for d in range(len(detections)):
            key = (*detections.boxes[d].tolist(), float(detections.scores[d]))
            count.setdefault(key, []).append(v)
            first.setdefault(key, (v, d))
    order = sorted(count, key=lambda key: -key[-1])
    rows = [variants[first[key][0]].select(np.asarray([first[key][1]])) for key in order]
    empty = variants[0].select(np.zeros(0, np.intp))
    whole = {
        name: np.concatenate([getattr(d, name) for d in (empty, *rows)])
        for name in ("boxes", "scores", "keypoints", "keypoint_scores")
    }
    stable = np.asarray([len(count[key]) == len(variants) for key in order], bool)
    return whole | {"stable": stable, "base": np.asarray([0 in count[k] for k in order], bool)}


def _matched_errors(
    rounded: list[Detections], truth: list[Detections], ties: NearTie
) -> dict[str, NDArray[Any]]:
    errors: dict[str, list[NDArray[Any]]] = {name: [] for name in DETECTION_OUTPUTS}
    for got, expected in zip(rounded, truth, strict=True):
        rows, columns = match_detections(got, expected, ties.match_px)
        exact = by_output(expected.select(columns))
        for name, array in by_output(got.select(rows)).items():
            errors[name].append(np.abs(array - exact[name]).ravel())
    return {name: np.concatenate(parts) for name, parts in errors.items()}
