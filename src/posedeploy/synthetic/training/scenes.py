"""Drawn images to train on: an endless sequence, each a function of its number.

None of them is an image of the drawn data set's splits: their seeds start where those end.
Augmentation is part of an image: rotation, size, place, parts outside the image, patches that
cover joints, brightness, contrast and blur.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.synthetic.drawn import STYLE
from posedeploy.synthetic.figures import JOINTS, Image, draw_scene

FIRST_SEED = 1_000_000_000_000  # of a drawn scene; the splits of `drawn` end at 3.1e10
_SEEDS = 1_000_000_000_000  # scenes of a training: less than the distance of two first seeds

Array = NDArray[np.float64]
Size = tuple[int, int]  # (W, H) in px

_BOX_MARGIN = 0.05  # as in `drawn`: of the larger side of the joints' extent
_BOX_PADDING = 1.25  # mmpose's GetBBoxCenterScale
_LEAST_JOINTS = 5  # of a person in an image, so that it counts as one to find
_LEAST_SIDE = 16.0  # of its box in the image, in px
_PAD = (114, 114, 114)  # around an image; BottomupResize of mmpose's configs pads with it
_MOST_PEOPLE = 4


@dataclass(frozen=True)
class Scene:
    """One image to train on, as large as the network's input.

    Attributes:
        image: [H, W, 3], BGR.
        joints: [P, 17, 2], x and y in image px, also of joints outside the image.
        inside: [P, 17], True for joints inside the image.
        covered: [P, 17], True for joints that a patch covers.
        boxes: [P, 4] left, top, right, bottom in image px: the part of a figure in the image.
    """

    image: Image
    joints: NDArray[np.float32]
    inside: NDArray[np.bool_]
    covered: NDArray[np.bool_]
    boxes: NDArray[np.float32]


def top_down_scene(seed: int, number: int, size: Size) -> Scene:
    """The crop of one person, sometimes with parts of another one.

    Args:
        seed: Of the training.
        number: Of the crop in it.
        size: (W, H) of the crop in px.
    """
    rng, first = np.random.default_rng([seed, number]), drawn_seeds(seed, number)[0]
    people = 1 if rng.random() < 0.75 else 2
    side = int(rng.integers(176, 289))
    image, joints = draw_scene(first, (side, side), people, STYLE)
    target = joints[-1:]  # the last one is in front
    box = _extent(target)[0]
    extent = (box[2:] - box[:2]) * _BOX_PADDING
    extent = np.maximum(extent, extent[::-1] * np.array(size) / np.array(size)[::-1])
    closer = rng.random() < 0.1
    factor = rng.uniform(0.5, 0.8) if closer else rng.uniform(0.75, 1.35)
    center = (box[:2] + box[2:]) / 2 + rng.uniform(-0.1, 0.1, 2) * extent * (2 if closer else 1)
    angle = rng.uniform(-60, 60) if rng.random() < 0.6 else 0.0
    zoom = size[0] / (extent[0] * factor)
    return _finished(rng, _seen(image, target, size, _similarity(center, zoom, angle, size), 0))


def detector_scene(seed: int, number: int, size: Size) -> Scene:
    """An image of one to four people, from a fifth of the image to all of it.

    People may overlap, and the image may be put together of two, side by side. Args: as above.
    """
    rng, seeds = np.random.default_rng([seed, number]), drawn_seeds(seed, number)
    people = int(rng.integers(1, _MOST_PEOPLE + 1))
    if people == 1 or rng.random() < 0.6:
        return _finished(rng, _part(rng, seeds[0], people, size))
    former = int(rng.integers(1, people))
    parts = (_part(rng, seeds[0], former, size), _part(rng, seeds[1], people - former, size))
    axis = int(rng.integers(2))
    return _finished(rng, _side_by_side(*parts, axis, int(size[axis] * rng.uniform(0.3, 0.7))))


def counted_people(scene: Scene) -> NDArray[np.bool_]:
    """[P], True for people of whom enough is in the image and uncovered to be found."""
    sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]).min(axis=1)
    seen = (scene.inside & ~scene.covered).sum(axis=1)
    return np.asarray((seen >= _LEAST_JOINTS) & (sides >= _LEAST_SIDE))


def drawn_seeds(seed: int, number: int) -> tuple[int, int]:
    """Seeds of the drawn scenes that an image of a training may be made of."""
    first = FIRST_SEED + seed * _SEEDS + 2 * number
    return first, first + 1


def _part(rng: np.random.Generator, seed: int, people: int, size: Size) -> Scene:
    style = replace(STYLE, crowd=rng.uniform(0.35, 0.75), overlap=rng.uniform(0.0, 0.4))
    side = int(min(size) * rng.uniform(0.65, 1.0))
    image, joints = draw_scene(seed, (side, side), people, style)
    part = np.exp(rng.uniform(*np.log([0.35, 1.3]))) if people == 1 else rng.uniform(0.7, 1.5)
    zoom = part * min(size) / side
    free = np.abs(np.array(size) / zoom - side) / 2 + 0.05 * side
    center = side / 2 + rng.uniform(-1, 1, 2) * free
    angle = rng.uniform(-30, 30) if rng.random() < 0.5 else 0.0
    return _seen(image, joints, size, _similarity(center, zoom, angle, size), _PAD)


def _similarity(center: Array, zoom: float, angle: float, size: Size) -> Array:
    """[2, 3]: a rotation (degrees) and zoom that puts a point into the middle of an image."""
    matrix = cv2.getRotationMatrix2D(tuple(center.tolist()), angle, zoom).astype(np.float64)
    return np.hstack([matrix[:, :2], matrix[:, 2:] + (np.array(size) / 2 - center)[:, None]])


def _seen(
    image: Image,
    joints: NDArray[np.float32],
    size: Size,
    matrix: Array,
    pad: int | tuple[int, ...],
) -> Scene:
    border = (pad,) * 3 if isinstance(pad, int) else pad
    image = cv2.warpAffine(image, matrix, size, borderValue=border).astype(np.uint8)
    moved = (joints @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    inside = np.asarray(((moved >= 0) & (moved < np.array(size))).all(axis=-1))
    boxes = np.clip(_extent(moved), 0, np.tile(np.array(size), 2)).astype(np.float32)
    return Scene(image, moved, inside, np.zeros_like(inside), boxes)


def _extent(joints: NDArray[np.float32]) -> Array:
    """[P, 4]: the boxes of whole figures, as the drawn data set has them, but for its borders."""
    low, high = joints.min(axis=1), joints.max(axis=1)
    margin = (high - low).max(axis=1, keepdims=True) * _BOX_MARGIN
    return np.hstack([low - margin, high + margin]).astype(np.float64)


def _side_by_side(former: Scene, latter: Scene, axis: int, cut: int) -> Scene:
    """One image of two: `former` left of (axis 0) or above (axis 1) the cut, in px."""
    image, boxes = former.image.copy(), [former.boxes.copy(), latter.boxes.copy()]
    rows = (slice(None), slice(cut, None)) if axis == 0 else (slice(cut, None),)
    image[rows] = latter.image[rows]
    boxes[0][:, [axis, axis + 2]] = boxes[0][:, [axis, axis + 2]].clip(max=cut)
    boxes[1][:, [axis, axis + 2]] = boxes[1][:, [axis, axis + 2]].clip(min=cut)
    inside = (
        former.inside & (former.joints[..., axis] < cut),
        latter.inside & (latter.joints[..., axis] >= cut),
    )
    joints = np.concatenate([former.joints, latter.joints])
    shown = np.concatenate(inside)
    return Scene(image, joints, shown, np.zeros_like(shown), np.concatenate(boxes))


def _finished(rng: np.random.Generator, scene: Scene) -> Scene:
    """With patches, other brightness and contrast, and blur; each on a part of the images."""
    image, covered = scene.image, scene.covered
    if rng.random() < 0.3:
        image, covered = _patched(rng, scene)
    if rng.random() < 0.5:
        darker = image - np.minimum(image, 20) if rng.random() < 0.5 else image
        contrast, brighter = rng.uniform(0.7, 1.3), rng.uniform(0, 25)
        image = cv2.convertScaleAbs(darker, alpha=contrast, beta=brighter).astype(np.uint8)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), 0).astype(np.uint8)
    return replace(scene, image=image, covered=covered)


def _patched(rng: np.random.Generator, scene: Scene) -> tuple[Image, NDArray[np.bool_]]:
    """One to three gray boxes over joints; and which joints they cover."""
    image, covered = scene.image.copy(), scene.covered.copy()
    for _ in range(int(rng.integers(1, 4))):
        person = int(rng.integers(len(scene.joints)))
        height = float(np.ptp(scene.joints[person], axis=0).max())
        half = np.maximum(rng.uniform(0.03, 0.12, 2) * height, 2)
        center = scene.joints[person, rng.integers(len(JOINTS))] + rng.uniform(-1, 1, 2) * half
        low, high = np.round(center - half).astype(int), np.round(center + half).astype(int)
        color = (rng.uniform(40, 215) + rng.uniform(-30, 30, 3)).tolist()
        cv2.rectangle(image, low.tolist(), high.tolist(), color, -1)
        covered |= ((scene.joints >= low) & (scene.joints <= high)).all(axis=-1)
    return image, covered
