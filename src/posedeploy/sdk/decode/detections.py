"""People from detectors: `YOLOXPoseDetections`, `RTMODetections` and their host variants.

A graph that holds everything ends with `dets`, padded with zero rows: those are dropped.  Where a
model has several classes, their sixth column is the class.  A backend that cannot hold
non-maximum suppression (ncnn) ends its graph before it: `YOLOXPoseHostDetections` takes decoded
candidates, and `RTMOHostDetections` the outputs of RTMO's last layers, for decoding all its
candidates takes longer than the network.  The results are the same.  The component names are ours:
MMDeploy writes `UNKNOWN`, which no client of its runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.decode import MISMATCH, Decoded, Outputs, floats
from posedeploy.sdk.decode.arrays import read_arrays, wrong_arrays
from posedeploy.sdk.decode.refine import only_numbers
from posedeploy.sdk.fields import Node

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]
# Boxes [n, 4], scores [n], keypoints [n, K, 3], labels [n]
People = tuple[Floats, Floats, Floats, Labels | None]
MAX_LABEL = 2**24  # up to here float32 holds every integer
MAX_ROWS = 2**31 - 1

# Name -> shape; J keypoints, F features of one, C pose vector, S attention, E encoding, P priors
SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "pose_weight": ("JF", "C"), "pose_bias": ("JF",), "position": ("J", "S"),
    "uv_weight": ("UVS", "F"), "gamma": (2, "S"), "beta": (2, "S"), "out_weight": ("F", "V"),
    "shortcut": ("F",), "norm_gain": (1,), "norm_scale": (2,), "box_padding": (1,),
    "x_weight": ("F", "E"), "y_weight": ("F", "E"), "x_bins": ("X",), "y_bins": ("Y",),
    "periods": ("T",), "points": ("P", 2), "strides": ("P",),
}  # fmt: skip


@dataclass(frozen=True)
class DetectionsDecoder:
    """`dets [N, M, 5]` or `[N, M, 6]` and `keypoints [N, M, K, 3]`, in input px, to people."""

    input_size: tuple[int, int]  # width, height of the input, px: boxes are clipped to it
    score_threshold: float = 0.0  # lower limit of a score, exclusive; 0 drops just the padding
    outputs: tuple[str, ...] = ("dets", "keypoints")

    def decode(self, outputs: Outputs) -> Decoded:
        """People in the graph's order: by image, then by falling score."""
        columns = 6 if np.shape(outputs["dets"])[2:] == (6,) else 5
        dets = floats(outputs, "dets", ("N", "M", columns))
        keypoints = floats(outputs, "keypoints", (*dets.shape[:2], "K", 3))
        chosen = dets[..., 4] > np.float32(self.score_threshold)
        image, row = np.nonzero(chosen & np.isfinite(dets[..., :5]).all(axis=-1))
        boxes = dets[image, row]
        labels = _read_labels(boxes[:, 5]) if columns > 5 else None
        people = boxes[:, :4], boxes[:, 4], keypoints[image, row], labels
        return _decoded(image, people, self.input_size)


def _read_labels(column: Floats) -> Labels:
    """The sixth column of `dets`, `[n]`; a BadInputError for what is no class."""
    wrong = ~((column >= 0) & (column <= MAX_LABEL) & (column == np.round(column)))
    if wrong.any():
        raise BadInputError(
            "graph output 'dets'", f"a class of {column[wrong][0]:g} in the sixth column",
            "whole numbers from 0", MISMATCH,
        )  # fmt: skip
    return column.astype(np.int64)


def best_class(scores: Floats) -> tuple[Floats, Labels | None]:
    """Scores `[P, C]` of classes to those of the best class `[P]`, and which it is.

    Of equal scores the first counts, as in mmpose; the label is None if there is one class.
    """
    if scores.shape[-1] == 1:
        return scores[:, 0], None
    return scores.max(axis=-1), scores.argmax(axis=-1).astype(np.int64)


def detections_decoder(params: Node, input_size: tuple[int, int]) -> DetectionsDecoder:
    """The decoder of a graph that holds non-maximum suppression; `score_thr` is optional."""
    threshold = params.get("score_thr", float, 0.0)
    if not 0 <= threshold < 1:
        raise params.at("score_thr").error("a number from 0 to below 1")
    return DetectionsDecoder(input_size, float(threshold))


@dataclass(frozen=True)
class Suppression:
    """Which candidates become people; the names are those of `pipeline.json`.

    The choice is that of the exported graphs which can hold it: best first, and a box goes if its
    IoU with a chosen one is above the threshold (the rule of ONNX's `NonMaxSuppression`).
    """

    score_threshold: float  # lower limit of a score, exclusive
    iou_threshold: float  # upper limit of the IoU of chosen boxes, inclusive; 1 keeps all
    pre_top_k: int  # how many candidates, best first, take part at most
    max_output: int  # how many survive suppression at most
    keep_top_k: int  # how many people an image has at most

    def choose(self, boxes: Floats, scores: Floats) -> NDArray[np.intp]:
        """Indices of the people among boxes `[P, 4]` with scores `[P]`, best first."""
        order = np.argsort(-scores, kind="stable")[: self.pre_top_k]
        order = order[scores[order] > np.float32(self.score_threshold)]
        order = order[np.isfinite(boxes[order]).all(axis=-1)]  # one that is no box overlaps none
        if self.iou_threshold < 1.0:
            order = order[self._suppress(boxes[order])]
        return order[: self.keep_top_k]

    def _suppress(self, boxes: Floats) -> NDArray[np.intp]:
        """Greedy suppression of boxes `[P, 4]`, best first; the union has a floor of 1e-6 px²."""
        chosen: list[np.intp] = []
        area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        left = np.arange(len(boxes))
        while left.size and len(chosen) < self.max_output:
            best, others = left[0], left[1:]
            chosen.append(best)
            low = np.maximum(boxes[best, :2], boxes[others, :2])
            high = np.minimum(boxes[best, 2:], boxes[others, 2:])
            overlap = (high - low).clip(np.float32(0)).prod(axis=1)
            union = (area[best] + area[others] - overlap).clip(np.float32(1e-6))
            left = others[overlap / union <= np.float32(self.iou_threshold)]
        return np.asarray(chosen, np.intp)


def _suppression(params: Node) -> Suppression:
    score, iou = params.at("score_threshold"), params.at("iou_threshold")
    if not 0 <= score.is_a(float) < 1:
        raise score.error("a number from 0 to below 1")
    if not 0 <= iou.is_a(float) <= 1:
        raise iou.error("a number from 0 to 1")
    counts = [_count(params.at(key)) for key in ("pre_top_k", "max_output", "keep_top_k")]
    return Suppression(float(score.value), float(iou.value), *counts)


def _count(node: Node) -> int:
    """A count from 1 on; `Node.is_a` refuses what is larger than any real one."""
    value = MAX_ROWS if node.value == MAX_ROWS else node.is_a(int)
    if value < 1:
        raise node.error("an integer from 1")
    return value


@dataclass(frozen=True)
class DenseDecoder:
    """`boxes [N, P, 4]`, `scores [N, P, C]`, `keypoints [N, P, K, 3]` in input px, to people.

    C is the number of classes; suppression is across classes, as in mmpose.
    """

    input_size: tuple[int, int]
    rule: Suppression
    outputs: tuple[str, ...] = ("boxes", "scores", "keypoints")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, then by falling score."""
        boxes = floats(outputs, "boxes", ("N", "P", 4))
        scores = floats(outputs, "scores", (*boxes.shape[:2], "C"))
        keypoints = floats(outputs, "keypoints", (*boxes.shape[:2], "K", 3))

        def people(i: int) -> People:
            best, labels = best_class(scores[i])
            chosen = self.rule.choose(boxes[i], best)
            label = labels if labels is None else labels[chosen]
            return boxes[i, chosen], best[chosen], keypoints[i, chosen], label

        return _joined(people, len(boxes), self.input_size)


def dense_decoder(params: Node, input_size: tuple[int, int]) -> DenseDecoder:
    """The decoder for the parameters of a `YOLOXPoseHostDetections`."""
    return DenseDecoder(input_size, _suppression(params))


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-logits.clip(np.float32(-80))))  # type: ignore[no-any-return]


class PoseDecoder:
    """RTMO's dynamic coordinate classifier, from weights of the names and shapes of `SHAPES`.

    The arithmetic is that of the paper (https://arxiv.org/abs/2312.07526, section 3.2): a pose
    vector becomes one feature a keypoint, a gated attention unit
    (https://arxiv.org/abs/2202.10447) lets the keypoints see each other, and each feature is
    matched with sine encodings of bins across the box, along x and along y.  The expectation over
    the bins is the point.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        self._arrays = dict(arrays)
        self.points: Floats = arrays["points"]
        self.strides: Floats = arrays["strides"]
        self.joints = len(arrays["position"])

    def __call__(self, vectors: Floats, boxes: Floats, points: Floats) -> Floats:
        """Keypoints `[M, J, 2]` of M priors, all in input px.

        Of pose vectors `[M, C]`, boxes `[M, 4]` (not clipped) and the priors' points `[M, 2]`.
        """
        arrays = self._arrays
        center: Floats = (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5)
        size: Floats = (boxes[:, 2:] - boxes[:, :2]) * arrays["box_padding"]
        features = self._features(vectors)
        axes = []
        for axis, name in enumerate("xy"):
            bins: Floats = arrays[f"{name}_bins"] * size[:, axis : axis + 1]
            here: Floats = center[:, axis : axis + 1]
            origin: Floats = points[:, axis : axis + 1]
            chance = self._chances(features @ arrays[f"{name}_weight"], bins + (here - origin))
            axes.append((chance * (bins + here)[:, None]).sum(axis=-1))
        return np.stack(axes, axis=-1)

    def _features(self, vectors: Floats) -> Floats:
        """Pose vectors `[M, C]` to keypoint features `[M, J, F]`."""
        arrays = self._arrays
        flat = vectors @ arrays["pose_weight"].T + arrays["pose_bias"]
        features = flat.reshape(len(vectors), self.joints, len(arrays["shortcut"]))
        return features * arrays["shortcut"] + self._attention(features)

    def _attention(self, features: Floats) -> Floats:
        arrays = self._arrays
        scale, floor = arrays["norm_scale"]
        norm = np.sqrt((features * features).sum(axis=-1, keepdims=True)) * scale
        normal = features / np.maximum(norm, floor) * arrays["norm_gain"]
        mixed = normal @ arrays["uv_weight"].T
        mixed = mixed / (1 + np.exp(-mixed.clip(np.float32(-80))))  # SiLU, without overflow
        channels, width = arrays["gamma"].shape[1], arrays["out_weight"].shape[1]
        gate, value, base = np.split(mixed, [width, 2 * width], axis=-1)
        query, key = (
            base * arrays["gamma"][i] + arrays["beta"][i] + arrays["position"] for i in (0, 1)
        )
        match = (query @ key.transpose(0, 2, 1)) / np.sqrt(np.float32(channels))
        weights = np.square(np.maximum(match, np.float32(0)))
        return (gate * (weights @ value)) @ arrays["out_weight"].T  # type: ignore[no-any-return]

    def _chances(self, features: Floats, bins: Floats) -> Floats:
        """Softmax over bins `[M, B]` of how well features `[M, J, E]` match their encodings."""
        angle = bins[..., None] / self._arrays["periods"]
        encoding = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        logits = features @ encoding.transpose(0, 2, 1)
        weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return weight / weight.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]


def read_pose_decoder(folder: Path, name: str, subject: str) -> PoseDecoder:
    """The decoder in a file of the folder; `subject` is where its name was read from.

    A BadInputError refuses a file outside the folder, one that is no such archive, and an array
    that is missing, of another shape or not finite.
    """
    arrays = read_arrays(folder, name, subject, SHAPES)
    joints, attention = arrays["position"].shape
    features, value = arrays["out_weight"].shape
    sizes = {  # array and axis -> what its size is made of
        ("pose_weight", 0): joints * features,
        ("uv_weight", 0): 2 * value + attention,
        ("x_weight", 1): 2 * len(arrays["periods"]),
    }
    for (key, axis), size in sizes.items():
        if arrays[key].shape[axis] != size:
            found = f"{key!r} of shape {list(arrays[key].shape)}"
            raise wrong_arrays(
                name, found, f"{size} in dimension {axis}, as the other arrays have it"
            )
    return PoseDecoder(arrays)


@dataclass(frozen=True)
class RawRtmoDecoder:
    """`cls [N, P, C]`, `bbox [N, P, 4]`, `kpt_vis [N, P, K]`, `pose_vec [N, P, V]`, to people.

    C is the number of classes, as in `DenseDecoder`.
    """

    input_size: tuple[int, int]
    rule: Suppression
    pose: PoseDecoder
    outputs: tuple[str, ...] = ("cls", "bbox", "kpt_vis", "pose_vec")

    def decode(self, outputs: Outputs) -> Decoded:
        """People by image, then by falling score."""
        priors = len(self.pose.points)
        cls = floats(outputs, "cls", ("N", priors, "C"))
        count = len(cls)
        bbox = floats(outputs, "bbox", (count, priors, 4))
        visible = floats(outputs, "kpt_vis", (count, priors, self.pose.joints))
        vectors = floats(outputs, "pose_vec", (count, priors, "V"))

        def people(i: int) -> People:
            scores, labels = best_class(sigmoid(cls[i]))
            boxes = self._boxes(bbox[i])
            chosen = self.rule.choose(boxes, scores)
            points = self.pose(vectors[i, chosen], boxes[chosen], self.pose.points[chosen])
            point_scores = sigmoid(visible[i, chosen])[..., None]
            keypoints = np.concatenate([points, point_scores], axis=-1)
            label = labels if labels is None else labels[chosen]
            return boxes[chosen], scores[chosen], keypoints, label

        return _joined(people, count, self.input_size)

    def _boxes(self, offsets: Floats) -> Floats:
        """Offsets (dx, dy, log w, log h) `[P, 4]` in strides to boxes in input px."""
        stride = self.pose.strides[:, None]
        center = offsets[:, :2] * stride + self.pose.points
        # beyond this a side is longer than any image, and a little further it overflows
        half = np.exp(offsets[:, 2:].clip(max=np.float32(20))) * stride / 2
        return np.concatenate([center - half, center + half], axis=-1)


def raw_rtmo_decoder(params: Node, input_size: tuple[int, int], folder: Path) -> RawRtmoDecoder:
    """The decoder for the parameters of an `RTMOHostDetections`; its weights lie in `folder`."""
    weights = params.at("weights")
    pose = read_pose_decoder(folder, weights.is_a(str), weights.subject)
    return RawRtmoDecoder(input_size, _suppression(params), pose)


def _joined(people: Callable[[int], People], images: int, input_size: tuple[int, int]) -> Decoded:
    parts = [people(i) for i in range(images)]
    boxes, scores, keypoints, labels = zip(*parts, strict=True)
    image = np.repeat(np.arange(images), [len(part) for part in scores])
    label = None if labels[0] is None else np.concatenate(labels)
    joined = np.concatenate(boxes), np.concatenate(scores), np.concatenate(keypoints), label
    return _decoded(image, joined, input_size)


def _decoded(image: NDArray[np.intp], people: People, input_size: tuple[int, int]) -> Decoded:
    """The people of a batch, boxes clipped to the input as MMPose does.

    A keypoint that is not finite has the score NaN.
    """
    boxes, scores, keypoints, labels = people
    limits = np.array([*input_size, *input_size], np.float32)
    boxes = boxes.clip(np.float32(0), limits)
    points, point_scores = only_numbers(keypoints[..., :2], keypoints[..., 2])
    return Decoded(image, points, point_scores, boxes, scores, labels)
