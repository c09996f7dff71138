"""Keypoints of images and videos, drawn and reported one by one: the work behind `infer`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from posedeploy.cli.media import Source
from posedeploy.cli.videos import Video, open_video, write_video
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector, Poses
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.images import read_image, write_image
from posedeploy.sdk.regions import Image
from posedeploy.sdk.windows import show_image


class Reporter(Protocol):
    """Says what was found."""

    def image(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        """One image is done."""
        ...

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        """One frame of a video is done; `video.read` counts from 1."""
        ...

    def video(self, video: Video, people: int, written: Path | None) -> None:
        """A video is done.

        Args:
            video: With the frames that were read.
            people: People in all its frames together.
            written: What was drawn.
        """
        ...

    def unreadable(self, source: Path, error: BadInputError) -> None:
        """A file that a folder or a pattern named is no image, or no video."""
        ...


@dataclass(frozen=True)
class Inference:
    """How to go about it.

    Attributes:
        detector: The model.
        boxes: `[left, top, right, bottom]` in image px, for every image; None where none is.
        out: Folder for what is drawn; None draws nothing.
        show: Open windows.
        min_score: Keypoints below it are not drawn.
    """

    detector: PoseDetector
    boxes: list[list[float]] | None
    out: Path | None
    show: bool
    min_score: float

    def run(self, source: Source, name: str, reporter: Reporter, progress: Progress) -> bool:
        """Do one source.

        Args:
            source: The image or video.
            name: File name of what is drawn.
            reporter: Told what was found.
            progress: Where frames are counted.

        Returns:
            False if the source could not be read to its end.

        Raises:
            BadInputError: A file that the user named cannot be read at all.
        """
        written = self.out / name if self.out else None
        try:
            if source.is_video:
                return self._video(source.path, written, reporter, progress)
            image = read_image(source.path)
            self._check_boxes(source.path, image)
        except BadInputError as error:
            if source.named:
                raise
            reporter.unreadable(source.path, error)
            return False
        self._image(source.path, image, written, reporter)
        return True

    def _image(self, path: Path, image: Image, written: Path | None, reporter: Reporter) -> None:
        poses = self._poses(image)
        if written or self.show:
            drawn = self._drawn(image, poses)
            if written:
                write_image(written, drawn)
            if self.show:
                show_image(path.name, drawn)
        reporter.image(path, image, poses, written)

    def _video(
        self, path: Path, written: Path | None, reporter: Reporter, progress: Progress
    ) -> bool:
        people = 0
        with ExitStack() as stack:
            video = stack.enter_context(open_video(path))
            write = stack.enter_context(write_video(written, video.fps)) if written else None
            task = progress.add_task(path.name, total=video.declared or None)
            for image in video.frames():
                self._check_boxes(path, image)
                poses = self._poses(image)
                people += len(poses.keypoints)
                reporter.frame(video, image, poses)
                progress.advance(task)
                if write or self.show:
                    drawn = self._drawn(image, poses)
                    if write:
                        write(drawn)
                    if self.show and not self._shown(video, drawn):
                        video.stopped = True
                        break
            progress.remove_task(task)
        reporter.video(video, people, written)
        return not video.truncated

    def _shown(self, video: Video, drawn: Image) -> bool:
        return show_image(video.path.name, drawn, max(1, round(1000 / video.fps)))

    def _check_boxes(self, path: Path, image: Image) -> None:
        height, width = image.shape[:2]
        for left, top, right, bottom in self.boxes or ():
            if left >= width or top >= height or right <= 0 or bottom <= 0:
                raise BadInputError(
                    f"--bbox {left:g},{top:g},{right:g},{bottom:g}",
                    f"a box outside {path.name}, which is {width}x{height} px",
                    "a box that overlaps the image", "Measure it in px of the image itself.",
                )  # fmt: skip

    def _poses(self, image: Image) -> Poses:
        return self.detector.detect(image, self.boxes)

    def _drawn(self, image: Image, poses: Poses) -> NDArray[np.uint8]:
        meta = self.detector.dataset_meta
        return draw_poses(image, poses.keypoints, meta, self.min_score)
