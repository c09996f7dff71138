"""Drawn figures: people made of limbs, with COCO's 17 joints at exact places.

Each joint is a disc of its own color, so that a small network finds it, on a background of random
shapes and noise. Everything is a function of the seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]  # [H, W, 3], BGR
Keypoints = NDArray[np.float32]  # [17, 2], x and y in image px
Body = dict[str, NDArray[np.float64]]  # joint -> (x, y)
Color = tuple[int, int, int]  # BGR
SMALLEST_SCENE = 48  # px, width and height

# COCO's order: https://cocodataset.org/#keypoints-2020
JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist"),
    *("right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
)


@dataclass(frozen=True)
class Style:
    """Look of a drawn person, and limits on distances; lengths are in heights of the person."""

    palette: tuple[Color, ...]  # BGR color of each joint's disc, in COCO's order
    disc: float = 0.022  # radius of these discs
    smallest_disc: float = 2.0  # their smallest radius in px
    head: float = 1.0  # factor on the radius of the head and on the bones attached to it
    separation: float = 0.0  # smallest distance of two joints; other poses are drawn again
    crowd: float = 0.7  # factor on the size of people where an image has several
    # largest intersection of two boxes over the area of the smaller one; others are placed again
    overlap: float = 1.0


def joint_color(joint: int) -> Color:
    """The BGR color of a joint's disc: 17 hues in three shades, neighbors far apart."""
    hue, value = joint * 7 % len(JOINTS) * 180 / len(JOINTS), (255, 200, 150)[joint % 3]
    pixel = np.array([[[hue, 255, value]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


PLAIN = Style(tuple(joint_color(joint) for joint in range(len(JOINTS))))


@dataclass(frozen=True)
class Bone:
    """The position of a joint relative to its parent joint.

    The length is in heights of the person. The angle is in degrees: 0 is down in the image, 90 is
    right, which is the figure's left; a pose rotates it by up to `spread` to either side.
    """

    parent: str
    length: float
    angle: float
    spread: float


# Lengths are about those of an adult (Drillis and Contini's body segments), rounded.
# fmt: off
BONES: Mapping[str, Bone] = {
    "neck":           Bone("pelvis",         0.29,  180,  14),
    "head":           Bone("neck",           0.11,  180,  18),
    "nose":           Bone("head",           0.01,    0,  90),
    "left_eye":       Bone("head",           0.050, 125,  12),
    "right_eye":      Bone("head",           0.050, -125, 12),
    "left_ear":       Bone("head",           0.090, 100,  10),
    "right_ear":      Bone("head",           0.090, -100, 10),
    "left_shoulder":  Bone("neck",           0.125,  85,  10),
    "right_shoulder": Bone("neck",           0.125, -85,  10),
    "left_elbow":     Bone("left_shoulder",  0.17,   55,  70),
    "right_elbow":    Bone("right_shoulder", 0.17,  -55,  70),
    "left_wrist":     Bone("left_elbow",     0.155,  60,  90),
    "right_wrist":    Bone("right_elbow",    0.155, -60,  90),
    "left_hip":       Bone("pelvis",         0.085,  90,   8),
    "right_hip":      Bone("pelvis",         0.085, -90,   8),
    "left_knee":      Bone("left_hip",       0.23,   22,  28),
    "right_knee":     Bone("right_hip",      0.23,  -22,  28),
    "left_ankle":     Bone("left_knee",      0.225,   8,  35),
    "right_ankle":    Bone("right_knee",     0.225,  -8,  35),
}
# fmt: on
_TORSO = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
_LIMBS = tuple((bone.parent, joint) for joint, bone in BONES.items() if bone.length >= 0.15)
_SUBPIXEL = 4  # bits of fraction that OpenCV's drawing takes
_MARGIN = 0.05  # of the image, free around a figure
_ATTEMPTS = 100  # to find a pose and place within the limits; then the last one is taken


def draw_figure(seed: int, size: tuple[int, int]) -> tuple[Image, Keypoints]:
    """Draw one person; see `draw_scene`.

    Returns:
        The image, and its joints [17, 2]: x and y in image px, in COCO's order.
    """
    image, people = draw_scene(seed, size, people=1)
    return image, people[0]


def draw_scene(
    seed: int, size: tuple[int, int], people: int, style: Style = PLAIN
) -> tuple[Image, NDArray[np.float32]]:
    """Draw people, who may overlap, on a cluttered background of (W, H) px, at least 48 each.

    Returns:
        The image, and the joints [people, 17, 2] in image px, in drawing order.
    """
    width, height = size
    if min(size) < SMALLEST_SCENE:
        raise ValueError(
            f"a figure needs {SMALLEST_SCENE} px in both directions, not {width}x{height}"
        )
    rng = np.random.default_rng([seed, width, height, people])
    image = background(rng, width, height)
    joints = np.zeros((people, len(JOINTS), 2), np.float32)
    for index in range(people):
        body = _person(rng, size, joints[:index], 1.0 if people == 1 else style.crowd, style)
        draw_body(image, body, rng, style)
        joints[index] = [body[name] for name in JOINTS]
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), joints


def _person(
    rng: np.random.Generator,
    size: tuple[int, int],
    others: NDArray[np.float32],
    scale: float,
    style: Style,
) -> Body:
    """A person in image px, no nearer to the others [people, 17, 2] than `style` allows."""
    for _ in range(_ATTEMPTS):
        pose = _pose(rng, style)
        body = _placed(rng, pose, size, scale)
        if _nearest(pose) >= style.separation and _overlap(body, others) <= style.overlap:
            break
    return body


def _nearest(body: Body) -> float:
    """The smallest distance between two joints."""
    joints = np.array([body[name] for name in JOINTS])
    distance = np.linalg.norm(joints[:, None] - joints[None], axis=2)
    return float(distance[~np.eye(len(JOINTS), dtype=bool)].min())


def _overlap(body: Body, others: NDArray[np.float32]) -> float:
    """Largest intersection with another's box over the area of the smaller box, 0..1."""
    points = np.array([body[name] for name in JOINTS])
    low, high = points.min(axis=0), points.max(axis=0)
    largest = 0.0
    for other in others:
        low2, high2 = other.min(axis=0), other.max(axis=0)
        shared = np.prod(np.clip(np.minimum(high, high2) - np.maximum(low, low2), 0, None))
        largest = max(largest, float(shared / min(np.prod(high - low), np.prod(high2 - low2))))
    return min(largest, 1.0)  # rounding can exceed 1 for a box inside another


def _pose(rng: np.random.Generator, style: Style) -> Body:
    """Joints of a random pose, the pelvis at (0, 0), in heights of the person, y down."""
    lean = rng.uniform(-12, 12)
    body: Body = {"pelvis": np.zeros(2)}
    for joint, bone in BONES.items():
        turn = np.deg2rad(bone.angle + lean + rng.uniform(-bone.spread, bone.spread))
        length = bone.length * (style.head if bone.parent == "head" else 1.0)
        body[joint] = body[bone.parent] + length * np.array([np.sin(turn), np.cos(turn)])
    return body


def _placed(rng: np.random.Generator, body: Body, size: tuple[int, int], scale: float) -> Body:
    """The body moved and scaled to a random place inside an image, in image px."""
    points = np.stack(list(body.values()))
    low, extent = points.min(axis=0), np.ptp(points, axis=0)
    room = np.array(size) * (1 - 2 * _MARGIN)
    factor = (room / extent).min() * scale * rng.uniform(0.7, 1.0)
    corner = np.array(size) * _MARGIN + rng.uniform(0, 1, 2) * (room - extent * factor)
    return {joint: (point - low) * factor + corner for joint, point in body.items()}


def draw_body(image: Image, body: Body, rng: np.random.Generator, style: Style) -> None:
    """Draw one person, joints in image px, onto the image; `rng` decides the clothes' colors."""
    height = float(np.linalg.norm(body["head"] - body["pelvis"])) / 0.4
    limb = max(2, round(height * 0.035))
    clothes = [_muted(rng) for _ in range(len(_LIMBS) + 2)]
    torso = np.stack([body[name] for name in _TORSO])
    cv2.fillConvexPoly(image, _fixed(torso), clothes[0], cv2.LINE_AA, _SUBPIXEL)
    for (start, end), color in zip(_LIMBS, clothes[2:], strict=True):
        first, last = _fixed(np.stack([body[start], body[end]]))
        cv2.line(image, tuple(first), tuple(last), color, limb, cv2.LINE_AA, _SUBPIXEL)
    _disc(image, body["head"], height * 0.075 * style.head, clothes[1])
    for name in rng.permutation(len(JOINTS)):
        radius = max(style.smallest_disc, height * style.disc)
        _disc(image, body[JOINTS[name]], radius, style.palette[name])


def _disc(image: Image, center: NDArray[np.float64], radius: float, color: Color) -> None:
    fixed_center, fixed_radius = _fixed(center[None])[0], round(radius * 2**_SUBPIXEL)
    cv2.circle(image, tuple(fixed_center), fixed_radius, color, -1, cv2.LINE_AA, _SUBPIXEL)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.round(points * 2**_SUBPIXEL).astype(np.int32)
    return fixed


def _muted(rng: np.random.Generator) -> Color:
    """A color near gray, so that only the joints' discs are saturated."""
    gray, tint = rng.uniform(50, 205), rng.uniform(-30, 30, 3)
    blue, green, red = np.clip(gray + tint, 0, 255).astype(int).tolist()
    return blue, green, red


def background(rng: np.random.Generator, width: int, height: int) -> Image:
    """Smooth patches of brightness with random lines, boxes and discs."""
    cells = rng.integers(3, 9, 2)
    patches = rng.uniform(0, 255, (*cells, 1)) + rng.uniform(-40, 40, (*cells, 3))
    smooth = cv2.resize(patches.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    image = np.clip(smooth, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(6, 18)):
        start, end = rng.uniform(0, [width, height], (2, 2)).astype(int).tolist()
        color, kind = _muted(rng), rng.integers(3)
        if kind == 0:
            cv2.line(image, start, end, color, int(rng.integers(1, 7)), cv2.LINE_AA)
        elif kind == 1:
            extent = rng.integers(4, max(5, width // 4), 2)
            cv2.rectangle(image, start, (extent + start).tolist(), color, -1)
        else:
            cv2.circle(image, start, int(rng.integers(3, width // 8)), color, -1, cv2.LINE_AA)
    return image
