"""Clients: SDK model folder + image + boxes -> keypoints.

Called by name in a child process that loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Sample(Protocol):
    """What a client is given: an image, and the box of one person in it."""

    @property
    def image(self) -> NDArray[np.uint8]:
        """`[H, W, 3]` uint8, BGR."""
        ...

    @property
    def bbox(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom in image px."""
        ...


@dataclass(frozen=True)
class ClientAnswer:
    """What a client found in one sample.

    Attributes:
        keypoints: `[P, K, 2]` image px.
        scores: `[P]` person scores (1.0 for top-down models).
    """

    keypoints: NDArray[np.float64]
    scores: NDArray[np.float64]


def detector_of(
    folder: str, device: str = "cpu", make: Callable[[str, str, int], Any] | None = None
) -> Any:
    """`posedeploy.sdk.PoseDetector` on a folder, on a device like 'cuda:1'."""
    from posedeploy.sdk import PoseDetector

    kind, _, number = device.partition(":")
    return (make or PoseDetector)(folder, kind, int(number or 0))


def posedeploy_sdk(
    folder: str,
    samples: Sequence[Sample],
    bottom_up: bool,
    device: str = "cpu",
    make: Callable[[str, str], Any] = detector_of,
) -> list[ClientAnswer]:
    """`posedeploy.sdk.PoseDetector` on each sample, on a device like 'cuda:1'."""
    with make(folder, device) as detector:
        return [_find(detector, sample, bottom_up) for sample in samples]


def _find(detector: Any, sample: Sample, bottom_up: bool) -> ClientAnswer:
    if bottom_up:
        people = detector.detect(sample.image)
        return ClientAnswer(
            np.asarray(people.keypoints[..., :2], np.float64),
            np.asarray(people.scores, np.float64),
        )
    # in the reference's type: the last bit of a box can decide a pixel, and a pixel a near tie
    box = np.asarray(sample.bbox, np.float32)
    keypoints = detector(sample.image, box)
    return ClientAnswer(np.asarray(keypoints[..., :2], np.float64), np.ones(len(keypoints)))
