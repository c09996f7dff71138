"""The floor of a call does what the call does with the regions and the graph, and no more."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from posedeploy.sdk import PoseDetector
from posedeploy.sdk.transforms import compile_transforms


@pytest.mark.parametrize("kind", ["heatmap", "detections"])
def test_a_floor_is_a_warp_a_region_and_a_run_a_batch(folders: Any, kind: str) -> None:
    detector = PoseDetector(folders.make(kind), batch_size=2)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (60, 50 + i, 3), np.uint8) for i in range(3)]
    floor = detector.floor(*images)
    warped = floor.warp()
    assert len(warped) == 3
    transforms = compile_transforms(detector.model.transforms)
    for image, found in zip(images, warped, strict=True):
        (region,) = transforms.regions(image, None)
        white = cv2.warpAffine(np.full_like(image, 255), region.matrix, detector.input_size)
        inside = white == 255  # the border has another color
        assert inside.mean() > 0.4
        np.testing.assert_array_equal(found[inside], transforms.crop(region)[inside])
    assert [len(feed["input"]) for feed in floor.feeds] == [2, 1]
    for outputs, part in zip(floor.run(), (images[:2], images[2:]), strict=True):
        for name, graph in detector.bound_outputs.items():
            np.testing.assert_array_equal(outputs[graph], detector.outputs(*part)[name])
