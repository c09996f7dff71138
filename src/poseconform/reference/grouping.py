"""People by mmpose's own grouping of a model's maps, and how close its decisions were.

Maps are compared as tensors. Which keypoints make a person is decided by peaks, thresholds and
assignments: mmpose groups the float64 maps as they are, and again with errors added that a backend
is allowed to make. People of every run are stable; people of some runs are near ties.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from poseconform.compare.metrics import Detections, keypoint_distances, match_detections
from poseconform.compare.tolerances import NEAR_TIES, allowed_error, tolerance_for
from poseconform.reference.detections import matched_errors, worst_errors
from poseconform.reference.heads import Grouping, ReferenceHead

Maps = Mapping[str, NDArray[np.float64]]  # [S, ...] by the contract's names
ERRONEOUS_RUNS = 8  # a tie that may go either way goes the other way in some of them
LOOSEST = "ncnn"  # backend whose tolerance allows the largest errors


def grouping_arrays(  # noqa: PLR0917 - what a reference is made of
    head: ReferenceHead,
    model: Any,
    samples: Sequence[Any],
    truth: Maps,
    rounded: Sequence[Maps],
    precision: str,
) -> dict[str, NDArray[Any]]:
    """The arrays of `reference.npz` about people.

    `truth` are the maps in float64, `rounded` those of honest runs at the precision, and the
    model, which only groups here, is in float32.
    """
    tolerance, ties = tolerance_for(LOOSEST, precision), NEAR_TIES[precision]
    margins = {
        name: allowed_error(
            tolerance, float(np.abs(maps).max()), float(np.sqrt(np.square(maps).mean())),
            max(float(np.abs(run[name] - maps).max()) for run in rounded), 0.0,
        ).max
        for name, maps in truth.items()
    }  # fmt: skip
    rng, arrays = np.random.default_rng(0), dict[str, NDArray[Any]]()
    base = []
    for i, sample in enumerate(samples):
        exact = {name: maps[i : i + 1] for name, maps in truth.items()}
        instances = grouped(head, model, exact, sample)
        variants = [as_detections(instances)]
        for seed in range(ERRONEOUS_RUNS):
            erring = {
                n: m + rng.uniform(-margins[n], margins[n], m.shape) for n, m in exact.items()
            }
            with _kind(head).choices(seed):
                variants.append(as_detections(grouped(head, model, erring, sample)))
        base.append(variants[0])
        united = union(variants, tolerance.keypoint_px)
        arrays |= {f"{name}:{i}": array for name, array in united.items()}
        placed = model.add_pred_to_datasample(
            [copy.deepcopy(instances)], None, [copy.deepcopy(sample)]
        )
        arrays[f"image_keypoints:{i}"] = np.asarray(placed[0].pred_instances.keypoints, np.float64)
        arrays[f"image_scores:{i}"] = variants[0].scores
        for name, found in (("possible", united), ("keypoint", vars(variants[0]))):
            arrays[f"{name}_ties:{i}"] = keypoint_ties(
                found["keypoints"], variants, tolerance.keypoint_px
            )
        arrays[f"image_labels:{i}"] = np.zeros(len(variants[0]), np.int64)
    errors = []
    for run in rounded:
        people = [
            as_detections(grouped(head, model, {n: m[i : i + 1] for n, m in run.items()}, sample))
            for i, sample in enumerate(samples)
        ]
        errors.append(matched_errors(people, base, ties))
    return arrays | worst_errors(errors, base)


def grouped(head: ReferenceHead, model: Any, maps: Maps, sample: Any) -> Any:
    """Mmpose's `InstanceData` of the maps `[1, ...]` of one image."""
    tensors = tuple(torch.from_numpy(np.array(maps[name])) for name in head.outputs)
    with torch.no_grad():
        return _kind(head).people(model, tensors, sample)


def _kind(head: ReferenceHead) -> Grouping:
    if not isinstance(head.kind, Grouping):
        raise TypeError(f"head kind {head.word!r} groups no keypoints")
    return head.kind


def as_detections(instances: Any) -> Detections:
    """People of `InstanceData`, whose boxes hold their keypoints: these heads output none.

    The score of a person is mmpose's, or else the mean of its keypoints' (`score_mode='keypoint'`
    of `CocoMetric`).
    """
    points = np.asarray(instances.keypoints, np.float64)
    scores = np.asarray(instances.keypoint_scores, np.float64)
    of_people = scores.mean(axis=1)
    if "bbox_scores" in instances:
        of_people = np.asarray(instances.bbox_scores, np.float64)
    corners = [points.min(axis=1), points.max(axis=1)] if points.size else [points[:, 0]] * 2
    return Detections(np.concatenate(corners, axis=-1), of_people, points, scores)


def union(variants: Sequence[Detections], same_px: float) -> dict[str, NDArray[Any]]:
    """People of all variants by falling score, which are in all of them, and in the first.

    People that are at most `same_px` apart are one.
    """
    possible, seen = [variants[0]], np.ones(len(variants[0]), int)
    for variant in variants[1:]:
        known = _joined(possible)
        rows, columns = match_detections(variant, known, same_px)
        seen[columns] += 1
        new = np.setdiff1d(np.arange(len(variant)), rows)
        possible.append(variant.select(new))
        seen = np.concatenate([seen, np.ones(len(new), int)])
    whole = _joined(possible)
    order = np.argsort(-whole.scores, kind="stable")
    base = np.arange(len(whole)) < len(variants[0])
    people = whole.select(order)
    return {
        "boxes": people.boxes, "scores": people.scores, "keypoints": people.keypoints,
        "keypoint_scores": people.keypoint_scores, "labels": np.zeros(len(people), np.int64),
        "class_ties": np.zeros(len(people), bool),
        "stable": (seen == len(variants))[order], "base": base[order],
    }  # fmt: skip


def keypoint_ties(
    people: NDArray[np.floating], variants: Sequence[Detections], same_px: float
) -> NDArray[np.bool_]:
    """`[P, K]` True where a keypoint of people `[P, K, 2]` is elsewhere in one of the runs.

    A person is the one whose keypoints have the least median distance.
    """
    ties = np.zeros(people.shape[:2], bool)
    for variant in variants:
        apart = keypoint_distances(people[:, None], variant.keypoints[None])
        if not apart.size:
            ties[:] = True
            continue
        nearest = np.median(apart, axis=-1).argmin(axis=1)
        ties |= apart[np.arange(len(people)), nearest] > same_px
    return ties


def _joined(parts: Sequence[Detections]) -> Detections:
    names = ("boxes", "scores", "keypoints", "keypoint_scores")
    return Detections(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
