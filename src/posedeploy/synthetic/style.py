"""What a drawn figure looks like: the colors of its joints, sizes and distances."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

Color = tuple[int, int, int]  # BGR

# COCO's order: https://cocodataset.org/#keypoints-2020
JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist"),
    *("right_wrist", "left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
)


@dataclass(frozen=True)
class Style:
    """What a drawn person looks like, and how close joints and people may come.

    Attributes:
        palette: BGR color of each joint's disc, in COCO's order.
        disc: Radius of those discs, in heights of the person.
        smallest_disc: Their smallest radius in px.
        head: Factor on the radius of the head and on the bones that hang on it.
        separation: Poses are drawn anew until no two joints are nearer, in heights.
        crowd: Factor on the size of people, where several share a image.
        overlap: Places are drawn anew until no two boxes share more of the smaller one, 0..1.
    """

    palette: tuple[Color, ...]
    disc: float = 0.022
    smallest_disc: float = 2.0
    head: float = 1.0
    separation: float = 0.0
    crowd: float = 0.7
    overlap: float = 1.0


def joint_color(joint: int) -> Color:
    """The BGR color of a joint's disc: 17 hues in three shades, neighbors far apart."""
    hue, value = joint * 7 % len(JOINTS) * 180 / len(JOINTS), (255, 200, 150)[joint % 3]
    pixel = np.array([[[hue, 255, value]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].tolist()
    return blue, green, red


PLAIN = Style(tuple(joint_color(joint) for joint in range(len(JOINTS))))
