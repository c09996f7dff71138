"""`PoseDetector`: an SDK model folder and an image in, keypoints out.

numpy, OpenCV and one backend; neither torch nor mmpose.  Called as MMDeploy's runtime is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from posedeploy.errors import BadInputError
from posedeploy.runtime import Arrays, Device, Runtime, Session
from posedeploy.sdk.binding import batch_of, bind, decoder_of, load_session
from posedeploy.sdk.checksums import verify_files
from posedeploy.sdk.decode import MISMATCH
from posedeploy.sdk.floor import Floor
from posedeploy.sdk.folder import PIPELINE, SdkModel, kept_people, read_folder
from posedeploy.sdk.images import MAX_PIXELS, Image, check_image
from posedeploy.sdk.poses import Poses, as_boxes, join, place
from posedeploy.sdk.reading import ImageSource, read_source
from posedeploy.sdk.transforms import Region, compile_transforms

_LOG = logging.getLogger(__name__)
DEFAULT_BATCH = 16  # regions in one call of a graph with a dynamic batch
NOT_FINITE = "Convert the model again: its weights are damaged, or too large for the precision."
STAGES = ("pre", "session", "post")  # of a call of the graph, in order


class PoseDetector:
    """Finds keypoints with the model in an SDK model folder.

    Threads may call one detector at the same time; each gets the result of its own image.

    Args:
        model_path: The folder, one of the files in it, or a zip of it; or what was read of it.
        device_name: 'cpu', or 'cuda' for a backend that runs there.
        device_id: Which of several devices.
        threads: Threads within one operation; 0 lets the backend choose.
        batch_size: Most regions in one call of the graph, where its batch is dynamic.
        runtime: Loads the backend's files; None takes the backend's own.
        verify: Which files must be those that the checksums in `detail.json` are of, if it has
            any. True: all, `deploy.json` and `pipeline.json` too. None: the backend's, of which
            those above 128 MiB by their size alone. False: none.
        max_pixels: Width times height of the largest image that is taken.

    Attributes:
        top_down: True if the model takes boxes, False if it finds the people itself.
        input_size: Width and height of the network's input, px.
        on_stage: Called with one of `STAGES` as each ends, so that a caller can time them; in the
            thread that called the detector.

    Raises:
        BadInputError: The folder is not whole, contradicts itself or does not fit its graph, or a
            file in it is not the one that was converted.
        UnavailableError: The backend is not installed.

    Example:
        >>> detector = PoseDetector("work/rtmpose_s")            # doctest: +SKIP
        >>> keypoints = detector(image, [[10, 20, 200, 400]])    # float32 [1, K, 3]
    """

    def __init__(
        self,
        model_path: str | Path | SdkModel,
        device_name: str = "cpu",
        device_id: int = 0,
        *,
        threads: int = 1,
        batch_size: int = DEFAULT_BATCH,
        runtime: Runtime | None = None,
        verify: bool | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.max_pixels = max_pixels
        if batch_size < 1 or threads < 0:
            found, expected = f"{batch_size=}, {threads=}", "batch_size from 1, threads from 0"
            raise BadInputError("PoseDetector", found, expected, "Pass other numbers.")
        self.model: SdkModel = (
            model_path if isinstance(model_path, SdkModel) else read_folder(model_path)
        )
        if self.model.unnamed:
            _LOG.warning(
                "%s: the component is UNKNOWN, which MMDeploy writes for detectors; decoded as %s",
                self.model.folder / PIPELINE, self.model.component,
            )  # fmt: skip
        self.dataset_meta = self.model.dataset_meta
        self._pre = compile_transforms(self.model.transforms)
        self.top_down, self.input_size = self._pre.top_down, self._pre.input_size
        self._decoder = decoder_of(self.model, self._pre)
        if verify is not False:
            verify_files(self.model, everything=bool(verify))
        device = Device.parse(f"{device_name}:{device_id}" if device_id else device_name)
        self._session: Session | None = load_session(self.model, device, threads, runtime)
        self._binding = bind(self.model, self._session, self._decoder.outputs, self.input_size)
        self._batch = batch_of(self._binding, batch_size, self.input_size)
        self.on_stage: Callable[[str], None] = lambda _stage: None

    @property
    def effective_options(self) -> Mapping[str, str]:
        """Options in force, as the backend reports them."""
        return self._open().effective_options

    @cached_property
    def most_people(self) -> int | None:
        """Most people that the model can find in one image, as its graph or its rule keeps them.

        For a graph with as many rows as there are people, `keep_top_k` in `detail.json`. None
        where that is not known either, and for a top-down model, which is told where they are.
        """
        if self.top_down:
            return None
        if rule := getattr(self._decoder, "rule", None):  # suppression on the host
            return int(rule.keep_top_k)
        if (target := self._binding.outputs.get("dets")) is None:  # no rows of people
            return None
        shape = next(info.shape for info in self._open().outputs if info.name == target)
        if not shape:  # known after a run only
            width, height = self.input_size
            blank = np.zeros((self._binding.batch or 1, 3, height, width), np.float32)
            shape = self._run(blank)["dets"].shape
        return shape[1] if isinstance(shape[1], int) else kept_people(self.model)

    @property
    def bound_outputs(self) -> Mapping[str, str]:
        """Names that the component reads the outputs by -> their names in the graph."""
        return self._binding.outputs

    @property
    def regions_in_a_call(self) -> int:
        """Most regions that go to the graph at once; 1 for a graph with a batch of one."""
        return self._batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the backend's session. The detector cannot be called any more."""
        self._session = None

    def warm_up(self, calls: int = 1) -> None:
        """Run the graph on blank input, so that the first image is not slower."""
        width, height = self.input_size
        blank = np.zeros((self._binding.batch or 1, 3, height, width), np.float32)
        for _ in range(calls):
            self._run(blank)

    def read(self, source: ImageSource) -> Image:
        """An image file as the model's pipeline reads it, `[H, W, 3]` uint8, BGR.

        An array is taken as it is.

        Raises:
            BadInputError: No file, no image, or one above `max_pixels`.
        """
        return read_source(source, self._pre.color_type, self.max_pixels)

    def __call__(self, img: Image, bboxes: ArrayLike | None = None) -> NDArray[np.float32]:
        """Keypoints `[n, K, 3]` float32 (x, y in image px, score) of n people in one image.

        `img` is `[H, W, 3]` uint8, BGR, as `cv2.imread` gives it.  `bboxes` is for top-down
        models: one box `[left, top, right, bottom]` in image px or a list of them; None takes the
        whole image as one box.  n is the number of boxes or of detected people, maybe 0.

        Raises:
            BadInputError: Not an image, one above `max_pixels`, not boxes, boxes for a bottom-up
                model, or the graph outputs values that are not finite.
        """
        return self.detect(img, bboxes).keypoints

    def detect(self, img: Image, bboxes: ArrayLike | None = None) -> Poses:
        """The same with the boxes, their scores and, for models of several classes, `labels`."""
        return self.detect_batch([img], None if bboxes is None else [bboxes])[0]

    def batch(
        self, imgs: Sequence[Image], bboxes: Sequence[ArrayLike | None] | None = None
    ) -> list[NDArray[np.float32]]:
        """Keypoints `[n, K, 3]` of each image, in as few calls as the graph's batch allows."""
        return [poses.keypoints for poses in self.detect_batch(imgs, bboxes)]

    def detect_batch(
        self, imgs: Sequence[Image], bboxes: Sequence[ArrayLike | None] | None = None
    ) -> list[Poses]:
        """The same with the boxes and their scores."""
        lists = [None] * len(imgs) if bboxes is None else list(bboxes)
        if len(lists) != len(imgs):
            found = f"{len(imgs)} images and {len(lists)} lists of boxes"
            raise BadInputError("bboxes", found, "one list for each image", "Pass None for none.")
        if not self.top_down and any(boxes is not None for boxes in lists):
            expected = f"none: {self.model.model.name} finds the people itself"
            raise BadInputError("bboxes", "boxes", expected, "Pass the image alone.")
        images = [check_image(img, self.max_pixels) for img in imgs]
        cuts = [
            self._pre.regions(image, None if boxes is None else as_boxes(boxes))
            for image, boxes in zip(images, lists, strict=True)
        ]
        regions = [region for cut in cuts for region in cut]
        owners = np.repeat(np.arange(len(cuts)), [len(cut) for cut in cuts])
        parts: list[list[Poses]] = [[] for _ in imgs]
        for start in range(0, len(regions), self._batch):
            chunk = slice(start, start + self._batch)
            poses, region = self._infer(regions[chunk])
            for index in np.unique(owners[chunk]):
                rows = owners[chunk][region] == index
                parts[index].append(poses.select(rows))
        keypoints = 0 if all(parts) else self._keypoints
        return [join(part, keypoints) for part in parts]

    def outputs(self, *imgs: Image) -> dict[str, NDArray[Any]]:
        """What the graph outputs for whole images in one call, `[n, …]`, by the pipeline's names.

        A top-down model takes each as one box.

        Raises:
            BadInputError: Not an image, one above `max_pixels`, or images that the graph refuses.
        """
        outputs = self._run(self._tensor(self._whole(imgs)))
        return {name: array[: len(imgs)] for name, array in outputs.items()}

    def floor(self, *imgs: Image) -> Floor:
        """The least that a call on whole images takes, to be timed beside it.

        A top-down model takes each as one box.

        Raises:
            BadInputError: Not an image, or one above `max_pixels`.
        """
        regions = self._whole(imgs)
        parts = [regions[i : i + self._batch] for i in range(0, len(regions), self._batch)]
        feeds = [self._feed(self._tensor(part)) for part in parts]
        return Floor(regions, self.input_size, self._open(), feeds)

    def _whole(self, imgs: Sequence[Image]) -> list[Region]:
        """Each image as one region."""
        return [self._pre.regions(check_image(img, self.max_pixels), None)[0] for img in imgs]

    def _open(self) -> Session:
        if self._session is None:
            raise BadInputError("PoseDetector", "closed", "open", "Make a new one.")
        return self._session

    def _run(self, tensor: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """The outputs the decoder needs, by their names in the pipeline."""
        session, feed = self._open(), self._feed(tensor)
        try:
            outputs = session.run(feed)
        except Exception as error:  # backends' exceptions share no base class but Exception
            entry = self.model.model
            shape = list(feed[self._binding.input].shape)
            found = f"{entry.backend} fails on input {shape}: {error}"
            raise BadInputError(entry.net, found, "a graph that takes it", MISMATCH) from error
        bound = {name: outputs[graph] for name, graph in self._binding.outputs.items()}
        for name, array in bound.items():
            if array.shape[:1] != tensor.shape[:1]:
                raise BadInputError(
                    f"graph output {name!r}", f"{array.dtype} of shape {list(array.shape)}",
                    f"{len(tensor)} rows, one an image", MISMATCH,
                )  # fmt: skip
        return bound

    def _feed(self, tensor: NDArray[np.float32]) -> Arrays:
        """The tensor `[N, 3, h, w]` under the graph's name, and in its layout."""
        if self.model.channels_last:
            tensor = np.ascontiguousarray(tensor.transpose(0, 2, 3, 1))
        return {self._binding.input: tensor}

    def _tensor(self, regions: Sequence[Region]) -> NDArray[np.float32]:
        """The graph's input; a static batch is filled up, and the surplus rows are dropped."""
        tensor = self._pre.tensor(regions)
        missing = self._binding.batch - len(regions)
        if missing <= 0:
            return tensor
        return np.concatenate([tensor, np.zeros((missing, *tensor.shape[1:]), np.float32)])

    def _infer(self, regions: Sequence[Region]) -> tuple[Poses, NDArray[np.intp]]:
        """Poses of at most a batch of regions, and the region that each belongs to."""
        tensor = self._tensor(regions)
        self.on_stage("pre")
        outputs = {k: v[: len(regions)] for k, v in self._run(tensor).items()}
        for name, array in outputs.items():
            if not np.isfinite(array).all():
                bad = int((~np.isfinite(array)).sum())
                raise BadInputError(
                    f"graph output {name!r}", f"{bad} of {array.size} values that are not finite",
                    "numbers: nothing was found in the image", NOT_FINITE,
                )  # fmt: skip
        self.on_stage("session")
        decoded = self._decoder.decode(outputs)
        placed = place(decoded, regions, self.input_size)
        self.on_stage("post")
        return placed, decoded.image

    @cached_property
    def _keypoints(self) -> int:
        """Number of keypoints, read from a run on a blank image."""
        width, height = self.input_size
        poses, _ = self._infer(self._pre.regions(np.zeros((height, width, 3), np.uint8), None))
        return int(poses.keypoints.shape[1])
