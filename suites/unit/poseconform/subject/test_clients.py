"""What the SDK's client is called with, and what becomes of its answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from poseconform.reference.values import Sample
from poseconform.subject import clients

SAMPLE = Sample("s", np.zeros((6, 5, 3), np.uint8), (0.1, 0.2, 4.3, 5.7))
PEOPLE = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)


class Detector:
    """Records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def __call__(self, *args: Any) -> Any:
        self.calls.append(args)
        return PEOPLE[:1]

    def detect(self, *args: Any) -> Any:
        self.calls.append(args)
        scores, labels = np.asarray([0.9, 0.5], np.float32), np.asarray([1, 0])
        return SimpleNamespace(keypoints=PEOPLE, scores=scores, labels=labels)


@pytest.fixture
def detector() -> Detector:
    return Detector()


def test_a_box_has_the_type_that_the_reference_computes_in(detector: Detector) -> None:
    (answer,) = clients.posedeploy_sdk("folder", [SAMPLE], False, make=lambda *_: detector)
    image, box = detector.calls[0]
    assert image is SAMPLE.image
    assert box.dtype == np.float32  # 0.1 is another number in float64, and so is the crop
    np.testing.assert_array_equal(box, np.asarray(SAMPLE.bbox, np.float32))
    np.testing.assert_array_equal(answer.keypoints, PEOPLE[:1, :, :2])
    assert answer.scores.tolist() == [1.0]


def test_a_detector_sees_the_whole_image_and_gives_scores(detector: Detector) -> None:
    (answer,) = clients.posedeploy_sdk("folder", [SAMPLE], True, make=lambda *_: detector)
    assert detector.calls == [(SAMPLE.image,)]
    assert answer.keypoints.shape == (2, 3, 2)
    assert answer.scores.tolist() == pytest.approx([0.9, 0.5])
    assert answer.labels is not None
    assert answer.labels.tolist() == [1, 0]
