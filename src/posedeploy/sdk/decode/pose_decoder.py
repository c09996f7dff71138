"""RTMO's dynamic coordinate classifier in numpy: pose vectors and boxes to keypoints.

The arithmetic is that of the RTMO paper (https://arxiv.org/abs/2312.07526, section 3.2): a pose
vector becomes one feature a keypoint, a gated attention unit (https://arxiv.org/abs/2202.10447)
lets the keypoints see each other, and each feature is matched with sine encodings of bins that
lie across the box, once along x and once along y.  The expectation over the bins is the place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.arrays import Shape, read_arrays

Floats = NDArray[np.float32]

# Name -> shape; J keypoints, F features of one, C pose vector, S attention, E encoding, P priors
SHAPES: Mapping[str, Shape] = {
    "pose_weight": ("JF", "C"), "pose_bias": ("JF",), "position": ("J", "S"),
    "uv_weight": ("UVS", "F"), "gamma": (2, "S"), "beta": (2, "S"), "out_weight": ("F", "V"),
    "shortcut": ("F",), "norm_gain": (1,), "norm_scale": (2,), "box_padding": (1,),
    "x_weight": ("F", "E"), "y_weight": ("F", "E"), "x_bins": ("X",), "y_bins": ("Y",),
    "periods": ("T",), "points": ("P", 2), "strides": ("P",),
}  # fmt: skip


class PoseDecoder:
    """Keypoints of chosen priors.

    Args:
        arrays: Weights by the names of `SHAPES`, and of those shapes.
    """

    def __init__(self, arrays: Mapping[str, Floats]) -> None:
        self._arrays = dict(arrays)
        self.points: Floats = arrays["points"]
        self.strides: Floats = arrays["strides"]
        self.joints = len(arrays["position"])

    def __call__(self, vectors: Floats, boxes: Floats, points: Floats) -> Floats:
        """Decode M priors.

        Args:
            vectors: Pose vectors `[M, C]`.
            boxes: `[M, 4]` x1, y1, x2, y2 in input px, not clipped.
            points: The priors' points `[M, 2]` in input px.

        Returns:
            `[M, J, 2]` in input px.
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
        scale, least = arrays["norm_scale"]
        norm = np.sqrt((features * features).sum(axis=-1, keepdims=True)) * scale
        normal = features / np.maximum(norm, least) * arrays["norm_gain"]
        mixed = normal @ arrays["uv_weight"].T
        mixed = mixed / (1 + np.exp(-mixed.clip(np.float32(-80))))  # SiLU, without overflow
        channels, width = arrays["gamma"].shape[1], arrays["out_weight"].shape[1]
        gate, value, base = np.split(mixed, [width, 2 * width], axis=-1)
        query, key = (
            base * arrays["gamma"][i] + arrays["beta"][i] + arrays["position"] for i in (0, 1)
        )
        match = (query @ key.transpose(0, 2, 1)) / np.sqrt(np.float32(channels))
        weights = np.square(np.maximum(match, np.float32(0)))
        result: Floats = (gate * (weights @ value)) @ arrays["out_weight"].T
        return result

    def _chances(self, features: Floats, bins: Floats) -> Floats:
        """Softmax over bins `[M, B]` of how well features `[M, J, E]` match their encodings."""
        angle = bins[..., None] / self._arrays["periods"]
        encoding = np.concatenate([np.cos(angle), np.sin(angle)], axis=-1)
        logits = features @ encoding.transpose(0, 2, 1)
        weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
        chances: Floats = weight / weight.sum(axis=-1, keepdims=True)
        return chances


def read_pose_decoder(folder: Path, name: str, subject: str) -> PoseDecoder:
    """The decoder in a file of the folder, as the converter wrote it.

    Raises:
        BadInputError: It is not such a file.
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
            raise BadInputError(
                name,
                f"{key!r} of shape {list(arrays[key].shape)}",
                f"{size} in dimension {axis}, as the other arrays have it",
                "Convert the model again.",
            )
    return PoseDecoder(arrays)
