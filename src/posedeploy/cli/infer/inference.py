"""Runs the model on images and videos: finds, draws, writes, shows and reports."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from posedeploy.cli.infer.people import People, PeopleFinder
from posedeploy.cli.infer.reporters import Reporter, Tally
from posedeploy.cli.infer.sources import Source
from posedeploy.cli.infer.videos import Video, open_source, write_video
from posedeploy.cli.terminal import one_line
from posedeploy.errors import BadInputError
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.images import MAX_PIXELS, Image, write_image
from posedeploy.sdk.meta import DatasetMeta
from posedeploy.sdk.streaming import Stream
from posedeploy.signals import postponing_signals

# Shows an image in the window of a title for some ms (0: until a key is pressed); False to stop.
Show = Callable[[str, NDArray[np.uint8], int], bool]


@dataclass(frozen=True)
class Inference:
    """Finds, draws and reports people.

    A video is decoded, its people are found and drawn in threads of their own; what is drawn is
    written, shown and reported in the caller's.
    """

    read: Callable[[Path], Image]  # an image file
    finder: PeopleFinder
    meta: DatasetMeta  # of the keypoints that the finder gives
    reporters: Sequence[Reporter]
    out: Path | None = None  # folder of the drawings; None draws nothing
    show: Show | None = None
    min_score: float = 0.3  # of the keypoints that are drawn
    live: bool = False  # frames that wait too long are dropped
    max_pixels: int = MAX_PIXELS  # of a frame

    def run(self, source: Source, name: str, progress: Progress) -> bool:
        """Process one source; False if it could not be read to its end.

        `name` is the file name of the drawing; `progress` shows the number of frames. Ctrl-C in a
        video ends its drawing, which is whole up to there, before it goes on to the caller.

        Raises:
            BadInputError: The only file cannot be read, or drawn; others are left out.
            UnavailableError: There is no such camera, or the stream does not begin.
        """
        written = self.out / name if self.out else None
        try:
            if source.is_video:
                return self._video(source, written, progress)
            self._image(source, written)
        except BadInputError as error:
            if source.alone:
                raise
            for reporter in self.reporters:
                reporter.unreadable(source, error)
            return False
        return True

    def _image(self, source: Source, written: Path | None) -> None:
        people = self.finder.image(source, self.read(source.path))
        if written or self.show:
            drawn = self._drawn(people)
            if written:
                write_image(written, drawn)
            if self.show:
                self.show(source.name, drawn, 0)
        for reporter in self.reporters:
            reporter.image(source, people, written)

    def _video(self, source: Source, written: Path | None, progress: Progress) -> bool:
        tally = Tally()
        with ExitStack() as stack:
            video = stack.enter_context(open_source(source, self.max_pixels))
            frames = stack.enter_context(closing(self._frames(source, video)))
            signals = stack.enter_context(postponing_signals(frames.stop))
            with ExitStack() as drawing:
                write = drawing.enter_context(write_video(written, video.fps)) if written else None
                task = progress.add_task(one_line(source.name), total=video.declared or None)
                drawing.callback(progress.remove_task, task)
                for people, drawn in frames:
                    if write:
                        for _ in range(people.index - tally.last):  # also in place of dropped ones
                            write(drawn)
                    tally.add(people)
                    for reporter in self.reporters:
                        reporter.frame(source, people)
                    progress.advance(task)
                    pause = 1 if video.live else max(1, round(1000 / video.fps))
                    if self.show and not self.show(source.name, drawn, pause):
                        video.stopped = True
                        break
                if not tally.frames:
                    signals.check()
            video.stopped = video.stopped or signals.came
            for reporter in self.reporters:
                reporter.video(video, tally, written)
        return not (video.truncated or video.lost)

    def _frames(self, source: Source, video: Video) -> Stream:
        """`People` and what is drawn of them, for each frame."""

        def draw(people: People) -> tuple[People, NDArray[np.uint8]]:
            wanted = self.out is not None or self.show is not None
            return people, self._drawn(people) if wanted else people.image

        stages = (*self.finder.stages(source), draw)
        ahead = 1 if self.live else video.ahead  # what waits is late
        return Stream(video.frames(), stages, ahead=ahead, newest=self.live)

    def _drawn(self, people: People) -> NDArray[np.uint8]:
        poses = people.poses
        return draw_poses(
            people.image, poses.keypoints, self.meta, self.min_score, poses.labels,
            identities=people.identities,
        )  # fmt: skip
