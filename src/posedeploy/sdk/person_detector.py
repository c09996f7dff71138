"""`PersonDetector`: a detector and an image in, boxes of people out, for a top-down pose model.

numpy, OpenCV and one backend; neither torch nor mmpose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.runtime import Runtime
from posedeploy.sdk.bare_detectors import bare_detector, is_bare
from posedeploy.sdk.boxes import Boxes
from posedeploy.sdk.decode.detections import MAX_LABEL, MAX_ROWS, Suppression
from posedeploy.sdk.folder import DETECTION, POSE, SdkModel, read_folder
from posedeploy.sdk.images import MAX_PIXELS, Image
from posedeploy.sdk.pose_detector import DEFAULT_BATCH, PoseDetector
from posedeploy.sdk.poses import MAX_BOXES, Poses
from posedeploy.sdk.reading import ImageSource
from posedeploy.sdk.transforms import compile_transforms

# `bbox_thr` of MMPose's demos (demo/topdown_demo_with_mmdet.py, 1.3.2), and rtmlib's
SCORE_THRESHOLD = 0.3
# `nms_thr` of YOLOX-Pose and RTMO, `iou_threshold` of YOLOX in mmdet 3.3.0: a lower one loses
# people that stand close together
NMS_THRESHOLD = 0.65
PERSON = 0  # COCO's first class, and so that of every detector that is trained on it


class PersonDetector:
    """Finds boxes of people with one of three kinds of models.

    - An SDK model folder of a model that finds people itself (YOLOX-Pose, RTMO): its boxes.
    - A folder of MMDeploy's detectors (`task: Detector`): RTMDet, YOLOX and others of MMDetection
      whose graph ends with `dets` and `labels`.
    - A YOLOX or RTMDet graph alone, an `.onnx` (`bare_detectors`).

    Threads may call one detector at the same time; each gets the result of its own image.

    Args:
        model_path: The folder, one of the files in it, a zip of it, or an `.onnx` alone.
        device_name: 'cpu', or 'cuda' for a backend that runs there.
        device_id: Which of several devices.
        threads: Threads within one operation; 0 lets the backend choose.
        batch_size: Most images in one call of the graph, where its batch is dynamic.
        score_threshold: Lower limit of a box's score, exclusive, from 0 to below 1.
        nms_threshold: Upper limit of the IoU of two boxes, whatever their classes, above 0; 1
            keeps what the model outputs.
        classes: Boxes of which classes: numbers from 0, or names where the folder has them. None:
            `PERSON` of a detector, all of a pose model.
        family: 'yolox' or 'rtmdet', for an `.onnx` alone whose outputs do not tell.
        input_size: Width and height, px, for an `.onnx` alone whose input has no fixed size.
        runtime: Loads the backend's files; None takes the backend's own.
        verify: Which files must be those of the checksums, as in `PoseDetector`.
        max_pixels: Width times height of the largest image that is taken.

    Attributes:
        model: What was read of the folder.
        input_size: Width and height of the network's input, px.

    Raises:
        BadInputError: A model that is given boxes or has another task, a folder that is not
            whole or does not fit its graph, or an option that it cannot have.
        UnavailableError: The backend is not installed.

    Example:
        >>> people = PersonDetector("work/yoloxpose_tiny").detect(image)  # doctest: +SKIP
        >>> PoseDetector("work/rtmpose_s")(image, people.boxes)           # doctest: +SKIP
    """

    def __init__(
        self,
        model_path: str | Path,
        device_name: str = "cpu",
        device_id: int = 0,
        *,
        threads: int = 1,
        batch_size: int = DEFAULT_BATCH,
        score_threshold: float = SCORE_THRESHOLD,
        nms_threshold: float = NMS_THRESHOLD,
        classes: Sequence[int | str] | None = None,
        family: str | None = None,
        input_size: tuple[int, int] | None = None,
        runtime: Runtime | None = None,
        verify: bool | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self._rule = _rule(score_threshold, nms_threshold)
        if is_bare(model_path):
            self.model = bare_detector(model_path, family, input_size, score_threshold)
        else:
            self.model = _read(model_path, family, input_size)
        self._classes = _class_numbers(self.model, classes)
        self._least_side = self.model.params.get("min_bbox_size", float, 0.0)
        self._finder = PoseDetector(
            self.model, device_name, device_id, threads=threads, batch_size=batch_size,
            runtime=runtime, verify=verify, max_pixels=max_pixels,
        )  # fmt: skip
        self.input_size = self._finder.input_size

    @property
    def effective_options(self) -> Mapping[str, str]:
        """Options in force, as the backend reports them."""
        return self._finder.effective_options

    @property
    def on_stage(self) -> Callable[[str], None]:
        """Called with a stage's name as each ends, as in `PoseDetector`."""
        return self._finder.on_stage

    @on_stage.setter
    def on_stage(self, called: Callable[[str], None]) -> None:
        self._finder.on_stage = called

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the backend's session. The detector cannot be called any more."""
        self._finder.close()

    def warm_up(self, calls: int = 1) -> None:
        """Run the graph on blank input, so that the first image is not slower."""
        self._finder.warm_up(calls)

    def read(self, source: ImageSource) -> Image:
        """An image file as the model's pipeline reads it, as `PoseDetector.read`."""
        return self._finder.read(source)

    def __call__(self, img: Image) -> NDArray[np.float32]:
        """Boxes `[n, 4]` float32 (left, top, right, bottom in image px), best first, maybe none.

        `img` is `[H, W, 3]` uint8, BGR, as `cv2.imread` gives it.

        Raises:
            BadInputError: Not an image, one above `max_pixels`, or the graph outputs values that
                are not finite.
        """
        return self.detect(img).boxes

    def detect(self, img: Image) -> Boxes:
        """The same with scores and classes."""
        return self.detect_batch([img])[0]

    def detect_batch(self, imgs: Sequence[Image]) -> list[Boxes]:
        """The same for each image, in as few calls as the graph's batch allows."""
        found = self._finder.detect_batch(imgs)
        return [self._chosen(poses, img) for poses, img in zip(found, imgs, strict=True)]

    def _chosen(self, poses: Poses, img: Image) -> Boxes:
        """Boxes of the classes that were asked for, by score and without those that overlap."""
        boxes = poses.boxes
        if self.model.module == DETECTION.module:  # pose models clip theirs, as MMPose does
            height, width = img.shape[:2]
            boxes = boxes.clip(np.float32(0), np.array([width, height] * 2, np.float32))
        found = Boxes(boxes, poses.scores, poses.labels)
        sides = boxes[:, 2:] - boxes[:, :2]  # none are left of a box outside of the image
        keep = np.all((sides > 0) & (sides >= self._least_side), axis=1)
        if self._classes is not None and found.labels is not None:
            keep &= np.isin(found.labels, self._classes)
        found = found.select(keep)
        return found.select(self._rule.choose(found.boxes, found.scores))


def _rule(score: float, iou: float) -> Suppression:
    if not (0 <= score < 1 and 0 < iou <= 1):
        found = f"score_threshold={score:g}, nms_threshold={iou:g}"
        expected = "a score from 0 to below 1, and an IoU above 0 to 1"
        raise BadInputError("PersonDetector", found, expected, "Pass other numbers.")
    return Suppression(score, iou, MAX_ROWS, MAX_ROWS, MAX_BOXES)


def _read(path: str | Path, family: str | None, input_size: tuple[int, int] | None) -> SdkModel:
    """The folder of a model that finds people; a BadInputError for one that is given boxes."""
    if family is not None or input_size is not None:
        found = f"{family=}, {input_size=}"
        expected = f"neither: {path} is no .onnx alone, and its folder tells both"
        raise BadInputError("PersonDetector", found, expected, "Leave them out.")
    model = read_folder(path, (DETECTION, POSE))
    if compile_transforms(model.transforms).top_down:
        found = f"{POSE.finds} that is given the boxes of people ({model.model.name})"
        expected = f"{DETECTION.finds} ({DETECTION.name}), or YOLOX-Pose or RTMO"
        raise BadInputError(str(path), found, expected, POSE.elsewhere)
    return model


def _class_numbers(
    model: SdkModel, classes: Sequence[int | str] | None
) -> NDArray[np.int64] | None:
    """The numbers of the classes, None for all."""
    if classes is None:
        return np.array([PERSON]) if model.module == DETECTION.module else None
    names = model.dataset_meta.class_names
    numbers = [names.index(name) if name in names else name for name in classes]
    known = f"0 to {len(names) - 1} or their names: {', '.join(names)}" if names else (
        f"numbers from 0: the model does not name its classes; COCO's person is {PERSON}"
    )  # fmt: skip
    for number in numbers:
        if not isinstance(number, int) or not 0 <= number < (len(names) or MAX_LABEL):
            raise BadInputError("classes", repr(number), known, "Pass other classes.")
    if not numbers:
        raise BadInputError("classes", "none", known, "Pass one, or None for people.")
    return np.array(numbers, np.int64)
