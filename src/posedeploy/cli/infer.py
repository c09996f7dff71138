"""`posedeploy infer`: an SDK model folder and images or videos in, keypoints out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from posedeploy.cli.arguments import (
    DeviceOption,
    MaxPixelsOption,
    ThreadsOption,
    check_model_folder,
    device_for,
    output_folder,
)
from posedeploy.cli.media import (
    Source,
    Video,
    drawn_names,
    find_sources,
    open_video,
    quiet_opencv,
    write_video,
)
from posedeploy.cli.terminal import console, items_progress, one_line, to_json
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector, Poses
from posedeploy.sdk.drawing import draw_poses
from posedeploy.sdk.images import MAX_PIXELS, Image, write_image
from posedeploy.sdk.windows import check_windows, show_image

_NAMED = 5  # files that a line names; the others are counted


def infer(  # noqa: PLR0917 - the signature is the command line
    model_dir: Annotated[Path, typer.Argument(
        metavar="MODEL_DIR", help="SDK model folder, or a zip of it.")],
    sources: Annotated[list[str], typer.Argument(
        metavar="IMAGE", help="Images, videos, folders with them, patterns.")],
    bbox: Annotated[list[str] | None, typer.Option(
        metavar="L,T,R,B", help="Box of a person in image px; may be repeated. Without one, a "
        "top-down model takes the whole image as one box.")] = None,
    out: Annotated[Path | None, typer.Option(
        help="Folder for what is drawn. [default: poses; none with --json, --show]")] = None,
    as_json: Annotated[bool, typer.Option(
        "--json", help="Print JSON lines: the model, then one an image.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Open windows; q or Esc stops.")] = False,
    min_score: Annotated[float, typer.Option(
        help="Keypoints with a lower score are not drawn.")] = 0.3,
    max_pixels: MaxPixelsOption = MAX_PIXELS,
    device: DeviceOption = None,
    threads: ThreadsOption = 1,
) -> None:  # fmt: skip
    """Find keypoints in images and videos with an SDK model folder, and draw them.

    Needs neither torch nor mmpose. Of several files, those that cannot be read are left out, and
    the exit code is 1.

    Examples:

    - `posedeploy infer work/rtmpose_s photo.jpg`
    - `posedeploy infer work/rtmpose_s photo.jpg --bbox 20,30,480,600 --out drawn`
    - `posedeploy infer work/rtmo_s walk.mp4 holidays/ 'more/**/*.png' --out drawn`
    - `posedeploy infer work/rtmpose_s photo.jpg --json > keypoints.jsonl`
    """
    boxes = [parse_box(text) for text in bbox or []]
    folder_of_model, found = check_model_folder(model_dir), find_sources(sources)
    images = found.sources
    if show:
        check_windows("Leave --show out, and open the images that --out writes.")
    if found.left_out:
        console(stderr=True).print(_left_out(found.left_out), style="yellow", soft_wrap=True)
    quiet_opencv()
    chosen = device_for(folder_of_model, device)
    target = out or (None if as_json or show else Path("poses"))
    with PoseDetector(
        folder_of_model, chosen.kind, chosen.index, threads=threads, max_pixels=max_pixels
    ) as detector:
        if boxes and not detector.top_down:
            raise BadInputError(
                "--bbox", f"boxes, and {model_dir}, which finds the people itself",
                "boxes for a top-down model only", "Leave --bbox out.",
            )  # fmt: skip
        folder = output_folder(target) if target else None
        progress, window = items_progress(as_json=as_json), show_image if show else None
        inference = Inference(detector, boxes or None, folder, window, min_score)
        lines = JsonLines() if as_json else TextLines(progress.console, inference)
        lines.start(detector)
        with progress:
            complete = [
                inference.run(source, name, lines, progress)
                for source, name in zip(images, drawn_names(images), strict=True)
            ]
            if len(complete) > 1 and not all(complete):
                count = f"{complete.count(False)} of {len(complete)}"
                progress.console.print(f"[bold red]{count} could not be read to the end[/]")
    if not all(complete):
        raise typer.Exit(1)


def _left_out(paths: Sequence[Path]) -> str:
    """A line on the files of a folder or a pattern that are not looked at."""
    names = ", ".join(f"{path.name}{'/' if path.is_dir() else ''}" for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    folders = " (FOLDER/** in quotes takes folders too)" if any(p.is_dir() for p in paths) else ""
    return one_line(f"left out, for they are no images or videos: {names}{more}{folders}")


def parse_box(text: str) -> list[float]:
    """`[left, top, right, bottom]` in image px.

    Raises:
        BadInputError: Not four numbers, or a box without an area.
    """
    expected = "left,top,right,bottom in image px, right beyond left and bottom beyond top"
    next_step = "Write it as --bbox 20,30,480,600, with commas and no spaces."
    try:
        box = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise BadInputError("--bbox", text, expected, next_step) from error
    if len(box) != 4 or not all(map(math.isfinite, box)):
        raise BadInputError("--bbox", text, expected, next_step)
    left, top, right, bottom = box
    if not (right > left and bottom > top):
        raise BadInputError("--bbox", text, expected, _box_advice(box))
    if max(map(abs, box)) <= 1:
        raise BadInputError(
            "--bbox", f"{text}, a box of at most 1 px", expected,
            "If these are parts of the image's sides, multiply them by its width and height.",
        )  # fmt: skip
    return box


def _box_advice(box: list[float]) -> str:
    """What a box without an area may have meant."""
    left, top, width, height = box
    if width > 0 and height > 0:
        corner = f"{left:g},{top:g},{left + width:g},{top + height:g}"
        swapped = f"; if its corners are swapped, {width:g},{height:g},{left:g},{top:g}"
        both = swapped if width < left and height < top else ""
        return f"If it was x,y,width,height, write {corner}{both}."
    return "For the whole image as one box, leave --bbox out."


# Shows an image in the window of a title for some ms (0: until a key is pressed); False to stop.
Show = Callable[[str, NDArray[np.uint8], int], bool]


@dataclass(frozen=True)
class Inference:
    """Finds, draws and reports poses."""

    detector: PoseDetector
    boxes: list[list[float]] | None  # [left, top, right, bottom] in image px, of every image
    out: Path | None  # folder of the drawings; None draws nothing
    show: Show | None
    min_score: float  # of the keypoints that are drawn

    def run(self, source: Source, name: str, reporter: Reporter, progress: Progress) -> bool:
        """Process one source; False if it could not be read to its end.

        `name` is the file name of the drawing; `progress` shows the number of frames.

        Raises:
            BadInputError: The only file cannot be read, or drawn; others are left out.
        """
        written = self.out / name if self.out else None
        try:
            if source.is_video:
                return self._video(source.path, written, reporter, progress)
            self._image(source.path, written, reporter)
        except BadInputError as error:
            if source.alone:
                raise
            reporter.unreadable(source.path, error)
            return False
        return True

    def _image(self, path: Path, written: Path | None, reporter: Reporter) -> None:
        image = self.detector.read(path)
        self._check_boxes(path, image)
        poses = self.detector.detect(image, self.boxes)
        if written or self.show:
            drawn = self._drawn(image, poses)
            if written:
                write_image(written, drawn)
            if self.show:
                self.show(path.name, drawn, 0)
        reporter.image(path, image, poses, written)

    def _video(
        self, path: Path, written: Path | None, reporter: Reporter, progress: Progress
    ) -> bool:
        people = 0
        with ExitStack() as stack:
            video = stack.enter_context(open_video(path, self.detector.max_pixels))
            write = stack.enter_context(write_video(written, video.fps)) if written else None
            task = progress.add_task(one_line(path.name), total=video.declared or None)
            for image in video.frames():
                self._check_boxes(path, image)
                poses = self.detector.detect(image, self.boxes)
                people += len(poses.keypoints)
                reporter.frame(video, image, poses)
                progress.advance(task)
                if write or self.show:
                    drawn = self._drawn(image, poses)
                    if write:
                        write(drawn)
                    pause = max(1, round(1000 / video.fps))
                    if self.show and not self.show(path.name, drawn, pause):
                        video.stopped = True
                        break
            progress.remove_task(task)
        reporter.video(video, people, written)
        return not video.truncated

    def _check_boxes(self, path: Path, image: Image) -> None:
        height, width = image.shape[:2]
        for left, top, right, bottom in self.boxes or ():
            if left >= width or top >= height or right <= 0 or bottom <= 0:
                raise BadInputError(
                    f"--bbox {left:g},{top:g},{right:g},{bottom:g}",
                    f"a box outside {path.name}, which is {width}x{height} px",
                    "a box that overlaps the image", "Measure it in px of the image itself.",
                )  # fmt: skip

    def _drawn(self, image: Image, poses: Poses) -> NDArray[np.uint8]:
        meta = self.detector.dataset_meta
        return draw_poses(image, poses.keypoints, meta, self.min_score, poses.labels)


def _found(image: Image, poses: Poses) -> dict[str, Any]:
    """Size and people as JSON: boxes and keypoints in image px, keypoints as [x, y, score].

    People of a model of several classes have a label, and those of a model that tells which
    keypoints are visible a probability for each.
    """
    people: list[dict[str, Any]] = [
        {"box": box.tolist(), "score": float(score), "keypoints": points.tolist()}
        for box, score, points in zip(poses.boxes, poses.scores, poses.keypoints, strict=True)
    ]
    if poses.labels is not None:
        for person, label in zip(people, poses.labels.tolist(), strict=True):
            person["label"] = label
    if poses.visible is not None:
        for person, visible in zip(people, poses.visible.tolist(), strict=True):
            person["visible"] = visible
    return {"width": image.shape[1], "height": image.shape[0], "people": people}


class JsonLines:
    """Reports one JSON object per line: the model, then images, frames and videos."""

    def start(self, detector: PoseDetector) -> None:
        model, meta = detector.model, detector.dataset_meta
        names = {"class_names": list(meta.class_names)} if meta.class_names else {}
        self._line(
            kind="model", folder=str(model.folder), name=model.model.name,
            backend=model.model.backend, precision=model.precision,
            input_size=list(detector.input_size), top_down=detector.top_down,
            keypoint_names=list(meta.keypoint_names),
            skeleton=[list(link) for link in meta.skeleton_links], **names,
        )  # fmt: skip

    def image(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        path = str(written) if written else None
        self._line(kind="image", source=str(source), **_found(image, poses), written=path)

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        place = {"source": str(video.path), "frame": video.read - 1}
        self._line(kind="frame", **place, **_found(image, poses))

    def video(self, video: Video, people: int, written: Path | None) -> None:
        self._line(
            kind="video", source=str(video.path), frames=video.read, declared=video.declared,
            fps=video.fps, people=people, truncated=video.truncated,
            written=str(written) if written else None,
        )  # fmt: skip

    def unreadable(self, source: Path, error: BadInputError) -> None:
        self._line(kind="unreadable", source=str(source), found=error.found)

    def _line(self, **content: Any) -> None:
        typer.echo(to_json(content))


class TextLines:
    """Reports one line of text per image and video."""

    def __init__(self, console: Console, inference: Inference) -> None:
        self._console = console
        self._inference = inference
        self._scores: list[NDArray[np.float32]] = []  # of an image, or of a video's frames

    def start(self, detector: PoseDetector) -> None:
        model, (width, height) = detector.model, detector.input_size
        self._print(
            f"[bold]{one_line(model.folder.name)}[/]: {model.model.backend} {model.precision}, "
            f"input {width}x{height} px"
        )

    def image(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        del image
        self._scores = [poses.keypoints[..., 2]]
        inference, people = self._inference, len(poses.keypoints)
        whole = inference.detector.top_down and inference.boxes is None and people > 0
        note = " (the whole image as one box)" if whole else ""
        line = f"{_people(people)}{note}{self._counts()}{_arrow(written)}"
        self._print(f"{one_line(source.name)}: {line}")

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        del video, image
        self._scores.append(poses.keypoints[..., 2])

    def video(self, video: Video, people: int, written: Path | None) -> None:
        seconds = f"{video.read / video.fps:.1f} s at {video.fps:.4g} fps"
        rate = people / video.read if video.read else 0.0
        many = f"{_people(rate)} a frame{self._counts()}"
        name = one_line(video.path.name)
        if video.truncated:
            self._print(
                f"[bold red]truncated[/]: {name}: {video.read} of the {video.declared} frames "
                f"that the file promises could be read ({seconds}); the rest is missing or "
                f"damaged. {many}{_arrow(written)}"
            )
            return
        self._print(f"{name}: {video.read} frames ({seconds}), {many}{_arrow(written)}")

    def unreadable(self, source: Path, error: BadInputError) -> None:
        reason = one_line(f"{error.found}; expected {error.expected}")
        self._print(f"[bold red]left out[/]: {one_line(source.name)}: {reason}")

    def _counts(self) -> str:
        """The number of keypoints that are drawn, and advice if there is none."""
        parts = [part.ravel() for part in self._scores]
        scores, self._scores = np.concatenate(parts or [np.empty(0, np.float32)]), []
        if not scores.size:
            return ""
        limit = self._inference.min_score
        drawn = int(np.count_nonzero(scores >= limit))
        best = f"; the best is {np.nanmax(scores):.2g}: lower --min-score" if not drawn else ""
        return f", {drawn} of {scores.size} keypoints with a score from {limit:g}{best}"

    def _print(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _people(count: float) -> str:
    if count == 0:
        return "nobody"
    return f"{count:.3g} {'person' if count == 1 else 'people'}"


def _arrow(written: Path | None) -> str:
    return f" -> {one_line(str(written))}" if written else ""


Reporter = JsonLines | TextLines
