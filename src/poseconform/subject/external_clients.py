"""Clients that other people wrote, as functions for a child process.

Most mistakes end them with a signal, not with an exception, so nothing here may run in the
process of the tests.  They are imported by name: none of them is a dependency.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from poseconform.subject.clients import detector_of

Image = NDArray[np.uint8]
Box = tuple[float, float, float, float]
Keypoints = NDArray[np.float32]


def posedeploy_sdk(
    folder: str,
    image: Image,
    boxes: Sequence[Box] | None,
    make: Callable[[str], Any] = detector_of,
) -> Keypoints:
    """`posedeploy.sdk.PoseDetector`, all boxes in one call: `[n, K, 3]`, image px and score."""
    with make(folder) as detector:
        keypoints: Keypoints = detector(image, None if boxes is None else list(boxes))
    return keypoints


def mmdeploy_runtime(folder: str, image: Image, boxes: Sequence[Box]) -> Keypoints:
    """MMDeploy's `PoseDetector`, all boxes in one call.

    It counts the right and the bottom edge of a box as inside: a box that ends at 100 for
    everybody else is passed as one that ends at 99.

    Args:
        folder: SDK model folder.
        image: `[H, W, 3]` uint8, BGR.
        boxes: (left, top, right, bottom) in image px.

    Returns:
        `[n, K, 3]`: x and y in image px, score.
    """
    module: Any = importlib.import_module("mmdeploy_runtime")
    detector = module.PoseDetector(model_path=folder, device_name="cpu", device_id=0)
    inclusive = [[left, top, right - 1, bottom - 1] for left, top, right, bottom in boxes]
    return np.asarray(detector(image, inclusive), np.float32)


def rtmlib_rtmpose(
    graph: str, size: tuple[int, int], image: Image, boxes: Sequence[Box]
) -> Keypoints:
    """`RTMPose` of rtmlib, box by box.

    It subtracts means in RGB order from the channels as they come, so it is given RGB.

    Args:
        graph: The ONNX file.
        size: Width and height of the network's input, px.
        image: `[H, W, 3]` uint8, BGR.
        boxes: (left, top, right, bottom) in image px.

    Returns:
        `[n, K, 3]`: x and y in image px, score.
    """
    module: Any = importlib.import_module("rtmlib")
    pose = module.RTMPose(graph, model_input_size=size, backend="onnxruntime", device="cpu")
    rgb = np.ascontiguousarray(image[..., ::-1])
    keypoints, scores = pose(rgb, [list(box) for box in boxes])
    return np.concatenate([keypoints, scores[..., None]], axis=-1).astype(np.float32)


def rtmlib_rtmo(graph: str, side: int, image: Image, score_thr: float) -> Keypoints:
    """`RTMO` of rtmlib without a second suppression: everyone that the graph found.

    Args:
        graph: The ONNX file, with outputs `dets` and `keypoints`.
        side: Side of the network's input, px.
        image: `[H, W, 3]` uint8, BGR.
        score_thr: Least score of a person; rows that only pad have 0.

    Returns:
        `[n, K, 3]`: x and y in image px, score.
    """
    module: Any = importlib.import_module("rtmlib")
    size = (side, side)
    pose = module.RTMO(graph, model_input_size=size, backend="onnxruntime", device="cpu")
    keypoints, scores = pose(image, nms_thr=1.0, score_thr=score_thr)
    return np.concatenate([keypoints, scores[..., None]], axis=-1).astype(np.float32)
