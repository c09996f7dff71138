"""Clients: SDK model folder + image + boxes -> keypoints.

All are called by name in a child process that loads no torch: most mistakes of the clients that
others wrote end the process with a signal. Those are imported by name, for none is a dependency.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from poseconform.isolation.sessions import SharedRuntime
from posedeploy.runtime import Device, backend_names

Image = NDArray[np.uint8]  # [H, W, 3], BGR
Box = tuple[float, float, float, float]  # left, top, right, bottom in image px
Keypoints = NDArray[np.float32]  # [n, K, 3]: x and y in image px, score
Rows = NDArray[np.float32]  # [n, 5]: left, top, right, bottom in image px, score; best first


class Sample(Protocol):
    """What a client is given: an image, and the box of one person in it."""

    @property
    def image(self) -> Image:
        """`[H, W, 3]` uint8, BGR."""

    @property
    def bbox(self) -> Box:
        """Left, top, right, bottom in image px."""


@dataclass(frozen=True)
class ClientAnswer:
    """What a client found in one sample."""

    keypoints: NDArray[np.float64]  # [P, K, 2], image px
    scores: NDArray[np.float64]  # [P], of persons; 1.0 for top-down models
    labels: NDArray[np.int64] | None = None  # [P] classes; None: all are of class 0
    keypoint_scores: NDArray[np.float64] | None = None  # [P, K]; None where they are not judged


def detector_of(
    folder: str, device: str = "cpu", make: Callable[[str, str, int], Any] | None = None
) -> Any:
    """`posedeploy.sdk.PoseDetector` on a folder, on a device like 'cuda:1'.

    It takes the session that this process has, where its own would be the same.
    """
    parsed = Device.parse(device)
    return (make or _detector)(folder, parsed.kind, parsed.index)


def _detector(folder: str, kind: str, index: int) -> Any:
    from posedeploy.sdk import PoseDetector, read_folder

    backend = read_folder(folder).model.backend
    runtime = SharedRuntime(backend) if backend in backend_names() else None
    return PoseDetector(folder, kind, index, runtime=runtime)


def posedeploy_sdk(
    folder: str, samples: Sequence[Sample], bottom_up: bool, device: str = "cpu",
    make: Callable[[str, str], Any] = detector_of,
) -> list[ClientAnswer]:  # fmt: skip
    """`posedeploy.sdk.PoseDetector` on each sample, on a device like 'cuda:1'."""

    def answer(detector: Any, sample: Sample) -> ClientAnswer:
        if bottom_up:
            people = detector.detect(sample.image)
            points = np.asarray(people.keypoints[..., :2], np.float64)
            return ClientAnswer(points, np.asarray(people.scores, np.float64), people.labels)
        # in the reference's type: the last bit of a box can decide a pixel, and so a near tie
        keypoints = detector(sample.image, np.asarray(sample.bbox, np.float32))
        found = np.asarray(keypoints, np.float64)
        return ClientAnswer(found[..., :2], np.ones(len(found)), None, found[..., 2])

    with make(folder, device) as detector:
        return [answer(detector, sample) for sample in samples]


def posedeploy_boxes(
    folder: str, image: Image, boxes: Sequence[Box] | None,
    make: Callable[[str], Any] = detector_of,
) -> Keypoints:  # fmt: skip
    """`posedeploy.sdk.PoseDetector`, all boxes in one call."""
    with make(folder) as detector:
        keypoints: Keypoints = detector(image, None if boxes is None else list(boxes))
    return keypoints


def mmdeploy_runtime(folder: str, image: Image, boxes: Sequence[Box]) -> Keypoints:
    """MMDeploy's `PoseDetector` on an SDK model folder, all boxes in one call.

    It counts the right and the bottom edge of a box as inside: a box that ends at 100 for all
    other clients is passed as one that ends at 99.
    """
    module: Any = importlib.import_module("mmdeploy_runtime")
    detector = module.PoseDetector(model_path=folder, device_name="cpu", device_id=0)
    inclusive = [[left, top, right - 1, bottom - 1] for left, top, right, bottom in boxes]
    return np.asarray(detector(image, inclusive), np.float32)


def rtmlib_rtmpose(
    graph: str, size: tuple[int, int], image: Image, boxes: Sequence[Box]
) -> Keypoints:
    """`RTMPose` of rtmlib on an ONNX file with an input of `size` (W, H) px, box by box.

    It subtracts means in RGB order from the channels as they come, so it is given RGB.
    """
    module: Any = importlib.import_module("rtmlib")
    pose = module.RTMPose(graph, model_input_size=size, backend="onnxruntime", device="cpu")
    rgb = np.ascontiguousarray(image[..., ::-1])
    keypoints, scores = pose(rgb, [list(box) for box in boxes])
    return np.concatenate([keypoints, scores[..., None]], axis=-1).astype(np.float32)


def rtmlib_rtmo(graph: str, side: int, image: Image, score_thr: float) -> Keypoints:
    """`RTMO` of rtmlib without a second suppression: everyone that the graph found.

    The ONNX file takes a square of `side` px, and has outputs `dets` and `keypoints`. Persons
    below `score_thr` are left out; padding rows have 0.
    """
    module: Any = importlib.import_module("rtmlib")
    pose = module.RTMO(graph, model_input_size=(side, side), backend="onnxruntime", device="cpu")
    keypoints, scores = pose(image, nms_thr=1.0, score_thr=score_thr)
    return np.concatenate([keypoints, scores[..., None]], axis=-1).astype(np.float32)


def posedeploy_people(detector: str, image: Image) -> Rows:
    """`posedeploy.sdk.PersonDetector` on a detector: all people that its graph outputs."""
    from posedeploy.sdk import PersonDetector

    with PersonDetector(detector, score_threshold=0.0, nms_threshold=1.0) as found_by:
        found = found_by.detect(image)
    return np.column_stack([found.boxes, found.scores])


def mmdeploy_detector(folder: str, image: Image) -> Rows:
    """MMDeploy's `Detector` on a detection folder.

    Its classes are left out: 1.3.1 gives every box the last one's.
    """
    module: Any = importlib.import_module("mmdeploy_runtime")
    detector = module.Detector(model_path=folder, device_name="cpu", device_id=0)
    return _best_first(detector(image)[0])


def rtmlib_yolox(graph: str, size: tuple[int, int], image: Image) -> NDArray[np.float32]:
    """Boxes `[n, 4]` of `YOLOX` of rtmlib on an ONNX file with an input of `size` (W, H) px."""
    module: Any = importlib.import_module("rtmlib")
    detector = module.YOLOX(
        graph, model_input_size=size[::-1], score_thr=0.3, backend="onnxruntime", device="cpu"
    )
    return np.asarray(detector(image), np.float32)


def _best_first(rows: Any) -> Rows:
    array = np.asarray(rows, np.float32)
    return array[np.argsort(-array[:, 4], kind="stable")]
