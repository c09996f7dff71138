"""What the clients that others wrote are called with."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from poseconform.subject import clients

IMAGE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
BOXES = [(1.0, 2.0, 4.0, 4.5), (0.0, 0.0, 5.0, 4.0)]


class Recorder:
    """A client with a given answer, which records its calls."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.made: tuple[Any, ...] = ()
        self.called: tuple[Any, ...] = ()

    def __call__(self, *args: Any, **words: Any) -> Any:
        """The first call makes the client, the second one asks it."""
        if not self.made:
            self.made = (args, words)
            return self
        self.called = (args, words)
        return self.answer


def stand_in(monkeypatch: pytest.MonkeyPatch, package: str, name: str, answer: object) -> Recorder:
    recorder = Recorder(answer)
    monkeypatch.setitem(sys.modules, package, SimpleNamespace(**{name: recorder}))
    return recorder


def test_mmdeploys_boxes_end_one_pixel_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = np.ones((2, 17, 3))
    client = stand_in(monkeypatch, "mmdeploy_runtime", "PoseDetector", answer)
    keypoints = clients.mmdeploy_runtime("folder", IMAGE, BOXES)
    assert client.made[1] == {"model_path": "folder", "device_name": "cpu", "device_id": 0}
    assert client.called[0][1] == [[1.0, 2.0, 3.0, 3.5], [0.0, 0.0, 4.0, 3.0]]
    assert keypoints.dtype == np.float32
    assert keypoints.shape == (2, 17, 3)


def test_rtmpose_gets_rgb_and_gives_keypoints_with_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    points, scores = np.full((2, 17, 2), 7.0), np.full((2, 17), 0.5)
    client = stand_in(monkeypatch, "rtmlib", "RTMPose", (points, scores))
    keypoints = clients.rtmlib_rtmpose("a.onnx", (192, 256), IMAGE, BOXES)
    image, boxes = client.called[0]
    np.testing.assert_array_equal(image[..., 0], IMAGE[..., 2])
    assert boxes == [list(box) for box in BOXES]
    assert client.made[1]["model_input_size"] == (192, 256)
    np.testing.assert_array_equal(keypoints[0, 0], [7.0, 7.0, 0.5])


def test_rtmo_gets_bgr_and_does_not_suppress_again(monkeypatch: pytest.MonkeyPatch) -> None:
    client = stand_in(
        monkeypatch, "rtmlib", "RTMO", (np.zeros((1, 17, 2)), np.full((1, 17), 0.25))
    )
    keypoints = clients.rtmlib_rtmo("a.onnx", 416, IMAGE, 0.1)
    assert client.called[0][0] is IMAGE
    assert client.called[1] == {"nms_thr": 1.0, "score_thr": 0.1}
    assert client.made[1]["model_input_size"] == (416, 416)
    assert keypoints.shape == (1, 17, 3)


def test_posedeploys_client_takes_all_boxes_in_one_call_or_none() -> None:
    calls: list[object] = []

    class Detector:
        def __enter__(self) -> Detector:
            return self

        def __exit__(self, *_: object) -> None:
            calls.append("closed")

        def __call__(self, _image: object, boxes: object) -> Any:
            calls.append(boxes)
            return np.zeros((2, 17, 3), np.float32)

    def make(_folder: str) -> Detector:
        return Detector()

    clients.posedeploy_boxes("folder", IMAGE, BOXES, make)
    clients.posedeploy_boxes("folder", IMAGE, None, make)
    assert calls == [BOXES, "closed", None, "closed"]
