"""RTMO's dynamic coordinate classifier in numpy: pose vectors and boxes to keypoints.

The arithmetic is that of the RTMO paper (https://arxiv.org/abs/2312.07526, section 3.2): a pose
vector becomes one feature a keypoint, a gated attention unit (https://arxiv.org/abs/2202.10447)
lets the keypoints see each other, and each feature is matched with sine encodings of bins that
lie across the box, once along x and once along y.  The expectation over the bins is the place.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.safefiles import file_inside

Floats = NDArray[np.float32]
MAX_ARRAY_BYTES = 256 * 2**20  # real ones have 3 MB

# Name -> shape; J keypoints, F features of one, C pose vector, S attention, E encoding, P priors
SHAPES: Mapping[str, tuple[int | str, ...]] = {
    "pose_weight": ("JF", "C"), "pose_bias": ("JF",), "position": ("J", "S"),
    "uv_weight": ("UVS", "F"), "gamma": (2, "S"), "beta": (2, "S"), "out_weight": ("F", "V"),
    "shortcut": ("F",), "norm_gain": (1,), "norm_scale": (2,), "box_padding": (1,),
    "x_weight": ("F", "E"), "y_weight": ("F", "E"), "x_bins": ("X",), "y_bins": ("Y",),
    "periods": ("T",), "points": ("P", 2), "strides": ("P",),
}  # fmt: skip


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 1 / (1 + np.exp(-logits.clip(np.float32(-80))))  # type: ignore[no-any-return]


class PoseDecoder:
    """Keypoints of chosen priors, from weights of the names and shapes of `SHAPES`."""

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


def _arrays(folder: Path, name: str, subject: str) -> dict[str, Floats]:
    """The arrays of an uncompressed `.npz`; the size of a compressed one would say nothing."""
    path = file_inside(folder, name, subject, limit=MAX_ARRAY_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            if any(i.compress_type != zipfile.ZIP_STORED for i in archive.infolist()):
                raise _wrong(name, "compressed arrays")
        with np.load(path, allow_pickle=False) as data:
            return {key: np.asarray(data[key]) for key in data.files}
    except (zipfile.BadZipFile, ValueError, EOFError, KeyError, OSError) as error:
        raise _wrong(name, f"no archive of arrays: {error}") from error


def _check(name: str, key: str, array: NDArray[Any] | None, sizes: dict[str, int]) -> None:
    """Refuse an array of another shape than `SHAPES` has; equal letters are equal sizes."""
    if array is None:
        raise _wrong(name, f"no array {key!r}")
    shape = SHAPES[key]
    fits = array.dtype == np.float32 and array.ndim == len(shape) and array.size > 0
    for want, have in zip(shape, array.shape, strict=False):
        fits = fits and have == (sizes.setdefault(want, have) if isinstance(want, str) else want)
    if not fits or not np.isfinite(array).all():
        found = f"{key!r}: {array.dtype} of shape {list(array.shape)}"
        raise _wrong(name, found, f"finite float32 of shape [{', '.join(map(str, shape))}]")


def _wrong(
    name: str, found: str, expected: str = "an uncompressed .npz of arrays"
) -> BadInputError:
    return BadInputError(name, found, expected, "Convert the model again.")


def read_pose_decoder(folder: Path, name: str, subject: str) -> PoseDecoder:
    """The decoder in a file of the folder; `subject` is where its name was read from.

    A BadInputError refuses a file outside the folder, one that is no such archive, and an array
    that is missing, of another shape or not finite.
    """
    arrays = _arrays(folder, name, subject)
    letters: dict[str, int] = {}
    for key in SHAPES:
        _check(name, key, arrays.get(key), letters)
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
            raise _wrong(name, found, f"{size} in dimension {axis}, as the other arrays have it")
    return PoseDecoder(arrays)
