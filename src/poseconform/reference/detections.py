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
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils._pytree import tree_map_only

from poseconform.compare.metrics import Detections, match_detections
from poseconform.compare.tolerances import NEAR_TIES, NearTie
from poseconform.reference.errors import REF_ERRORS, ref_error
from poseconform.reference.values import DETECTION_OUTPUTS, by_output, named_arrays

Candidate = bytes  # of a box and the scores of its keypoints
LOGITS_A_SCORE = 4.0  # a sigmoid's slope is at most 1/4
KEEPS_ALL = 1 - 1e-9  # an IoU that no two boxes are above; RTMO's `predict` fails with 1.0
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
        for name, array in zip(("keypoints", "scores", "labels"), image[i], strict=True):
            arrays[f"image_{name}:{i}"] = array
    runs = []
    for number, run in enumerate(REF_ERRORS[precision]):
        with run(model) as (ready, cast):
            rounded, _ = _predictions(ready, cast(inputs), samples, ((0.0, 0.0),))
        own = [variants[0] for variants in rounded]
        runs.append(matched_errors(own, truth, ties))
        for i, people in enumerate(own):
            arrays |= {f"own{number}_{name}:{i}": a for name, a in named_arrays(people).items()}
    arrays |= worst_errors(runs, truth)
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
) -> tuple[list[tuple[Detections, ...]], list[tuple[NDArray[Any], ...]]]:
    """Detections of each image with each pair of shifts, and in each order that `ties` allow.

    The second list has keypoints `[P, K, 2]` (image px), scores `[P]` and classes `[P]` of the
    first pair.
    """
    variants, image = [], []
    with torch.no_grad():
        for one, sample in zip(torch.split(inputs, 1), samples, strict=True):
            with _head_run_once(model, one):
                results = [model.head.predict(None, [sample], _moved(model, s)) for s in shifts]
                for seed in range(ORDERS if ties else 0):
                    with _in_another_order(model, ties.order if ties else 0.0, seed):
                        results.append(model.head.predict(None, [sample], dict(model.test_cfg)))
                tied = _class_ties(model, sample, ties) if ties else frozenset()
            variants.append(tuple(_as_detections(result[0], tied) for result in results))
            mapped = model.add_pred_to_datasample(results[0], None, [copy.deepcopy(sample)])[0]
            instances = mapped.pred_instances
            names = ("keypoints", "bbox_scores", "labels")
            image.append(tuple(np.asarray(instances[name]) for name in names))
    return variants, image


def _moved(model: Any, shift: tuple[float, float]) -> dict[str, Any]:
    config = dict(model.test_cfg)
    shifts = zip(("nms_thr", "score_thr"), shift, strict=True)
    return config | {name: config[name] + by for name, by in shifts}


@contextlib.contextmanager
def _head_run_once(model: Any, inputs: torch.Tensor) -> Iterator[None]:
    """Let several `predict` calls on one image share one pass through the network.

    What it outputs in bf16 is decoded in float32: numpy, which mmpose ends with, has no such type,
    and its steps are 2 px wide from 256 px on.
    """
    raw = model.head.forward(model.extract_feat(inputs))
    raw = tree_map_only(torch.Tensor, lambda x: x.float() if x.dtype == torch.bfloat16 else x, raw)
    with _outputs_of_head(model, raw):
        yield


@contextlib.contextmanager
def _outputs_of_head(model: Any, raw: Any) -> Iterator[None]:
    """Let `predict` take these outputs of the head's layers."""
    before = vars(model.head).get("forward")
    model.head.forward = lambda _feats: raw  # an attribute of this instance only
    try:
        yield
    finally:
        del model.head.forward
        if before is not None:
            model.head.forward = before


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


def _class_ties(model: Any, sample: Any, ties: NearTie) -> frozenset[Candidate]:
    """Candidates whose class depends on a change of a class's logits by the near-tie margin.

    `predict` is run once a class with its logits raised, and keeps every candidate.
    """
    raw = model.head.forward(None)
    count = raw[0][0].shape[1]
    seen: dict[Candidate, int] = {}
    tied: set[Candidate] = set()
    keep_all = {"nms_thr": KEEPS_ALL, "score_thr": model.test_cfg["score_thr"] - ties.score}
    for label in range(count if count > 1 else 0):
        margin = torch.zeros(count, dtype=raw[0][0].dtype)
        margin[label] = LOGITS_A_SCORE * ties.score
        raised = ([level + margin.reshape(1, -1, 1, 1) for level in raw[0]], *raw[1:])
        with _outputs_of_head(model, raised):
            found = model.head.predict(None, [sample], dict(model.test_cfg) | keep_all)[0]
        for candidate, given in zip(_candidates(found), np.asarray(found.labels), strict=True):
            if seen.setdefault(candidate, int(given)) != given:
                tied.add(candidate)
    return frozenset(tied)


def _candidates(result: Any) -> list[Candidate]:
    """What tells a candidate from others and does not depend on its class."""
    columns = np.concatenate([result.bboxes, result.keypoint_scores], axis=1, dtype=np.float64)
    return [row.tobytes() for row in columns]


def _as_detections(result: Any, tied: frozenset[Candidate]) -> Detections:
    return Detections(
        np.asarray(result.bboxes, np.float64).reshape(-1, 4),
        np.asarray(result.scores, np.float64).reshape(-1),
        np.asarray(result.keypoints, np.float64),
        np.asarray(result.keypoint_scores, np.float64),
        np.asarray(result.labels, np.int64),
        np.asarray([candidate in tied for candidate in _candidates(result)], bool),
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
        for name in (field.name for field in fields(Detections))
    }
    stable = np.asarray([len(count[key]) == len(variants) for key in order], bool)
    return whole | {"stable": stable, "base": np.asarray([0 in count[k] for k in order], bool)}


def matched_errors(
    rounded: list[Detections], truth: list[Detections], ties: NearTie
) -> dict[str, NDArray[Any]]:
    """Errors of detections that match the truth's, image by image, by `DETECTION_OUTPUTS`."""
    errors: dict[str, list[NDArray[Any]]] = {name: [] for name in DETECTION_OUTPUTS}
    for got, expected in zip(rounded, truth, strict=True):
        rows, columns = match_detections(got, expected, ties.match_px)
        exact = by_output(expected.select(columns))
        for name, array in by_output(got.select(rows)).items():
            errors[name].append(np.abs(array - exact[name]).ravel())
    return {name: np.concatenate(parts) for name, parts in errors.items()}


def worst_errors(
    runs: Sequence[dict[str, NDArray[Any]]], truth: Sequence[Detections]
) -> dict[str, NDArray[Any]]:
    """`ref_error:*` of detections: matched sets differ between runs, so it is the worst run's."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in DETECTION_OUTPUTS:
        worst = max((run[name] for run in runs), key=lambda e: float(e.max(initial=0.0)))
        size = np.concatenate([by_output(d)[name].ravel() for d in truth])
        arrays[f"ref_error:{name}"] = ref_error(worst, size)
    return arrays
