"""How this environment's OpenCV warps an image, to compare it with another environment's.

Pre-processing warps each image to the network's input. OpenCV up to 4.11 and OpenCV 5.0 differ in
it by up to 5 gray levels, which networks with made weights amplify to hundreds of px. So keypoints
that start from an image are compared only between environments that warp alike; between others,
files are run on the same network input.

This module is run by name, or its file by another interpreter, which needs numpy and OpenCV alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

SECONDS = 60.0  # for an interpreter that starts and imports OpenCV; 1 s where nothing else runs


@dataclass(frozen=True)
class Warp:
    """What an environment warps with, and what comes out of it."""

    opencv: str  # version
    sha256: str  # of one warped image, 12 hex digits

    def alike(self, other: Warp) -> bool:
        """True if the same image gives the same network input in both environments."""
        return self.sha256 == other.sha256


def own_warp() -> Warp:
    """The warp of this interpreter: one image by a matrix that rotates, scales and shifts it."""
    y, x = np.mgrid[:48, :64]
    channels = [x * 37 + y * 11, x * x + 3 * y * y, x * 5 ^ y * 7]
    image = (np.stack(channels, axis=-1) % 256).astype(np.uint8)
    matrix = np.asarray([[0.731, 0.213, -3.37], [-0.191, 0.845, 7.61]])
    warped = cv2.warpAffine(image, matrix, (40, 56), flags=cv2.INTER_LINEAR)  # as mmpose's warp
    return Warp(cv2.__version__, hashlib.sha256(warped.tobytes()).hexdigest()[:12])


def warp_of(interpreter: Sequence[str]) -> Warp:
    """The warp of another interpreter, which is started by these words.

    Raises:
        LookupError: It does not start, or has no OpenCV; with its last line.
    """
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [*interpreter, str(Path(__file__).resolve())],
            env=kept, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LookupError(str(error)) from error
    try:
        return Warp(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError) as error:  # it ended before it printed the line
        raise LookupError((done.stderr.strip().splitlines() or ["no message"])[-1]) from error


def comparison(here: Warp, there: Warp, name: str) -> str:
    """What may be compared between this environment and another one, for the report."""
    if here.alike(there):
        return f"images and keypoints: {name} warps like this environment (OpenCV {there.opencv})"
    return (
        f"network inputs only: OpenCV {there.opencv} of {name} warps unlike OpenCV {here.opencv} "
        "here, and keypoints from an image differ by more than a deployment's error"
    )


if __name__ == "__main__":
    print(json.dumps(asdict(own_warp())))
