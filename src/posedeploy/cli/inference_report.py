"""What `posedeploy infer` says: lines for a person, or JSON lines for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console

from posedeploy.cli.inference import Inference
from posedeploy.cli.terminal import escape, to_json
from posedeploy.cli.videos import Video
from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector, Poses
from posedeploy.sdk.regions import Image


def people_json(poses: Poses) -> list[dict[str, Any]]:
    """People as JSON: boxes and keypoints in image px, keypoints as [x, y, score]."""
    return [
        {"box": box.tolist(), "score": float(score), "keypoints": points.tolist()}
        for box, score, points in zip(poses.boxes, poses.scores, poses.keypoints, strict=True)
    ]


def _size(image: Image) -> dict[str, int]:
    return {"width": image.shape[1], "height": image.shape[0]}


class JsonLines:
    """One JSON object a line: the model, then images, frames and videos as they are done."""

    def start(self, detector: PoseDetector) -> None:
        """Say which model it is and what its keypoints are called."""
        model, meta = detector.model, detector.dataset_meta
        self._line(
            kind="model", folder=str(model.folder), name=model.model.name,
            backend=model.model.backend, precision=model.precision,
            input_size=list(detector.input_size), top_down=detector.top_down,
            keypoint_names=list(meta.keypoint_names),
            skeleton=[list(link) for link in meta.skeleton_links],
        )  # fmt: skip

    def image(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        self._line(
            kind="image", source=str(source), **_size(image), people=people_json(poses),
            written=_text(written),
        )  # fmt: skip

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        self._line(
            kind="frame", source=str(video.path), frame=video.read - 1, **_size(image),
            people=people_json(poses),
        )  # fmt: skip

    def video(self, video: Video, people: int, written: Path | None) -> None:
        self._line(
            kind="video", source=str(video.path), frames=video.read, declared=video.declared,
            fps=video.fps, people=people, truncated=video.truncated, written=_text(written),
        )  # fmt: skip

    def unreadable(self, source: Path, error: BadInputError) -> None:
        self._line(kind="unreadable", source=str(source), found=error.found)

    def _line(self, **content: Any) -> None:
        typer.echo(to_json(content))


class TextLines:
    """A line an image and a line a video."""

    def __init__(self, console: Console, inference: Inference) -> None:
        self._console = console
        self._inference = inference
        self._scores: list[NDArray[np.float32]] = []  # of an image, or of a video's frames

    def start(self, detector: PoseDetector) -> None:
        """Say which model it is."""
        model, (width, height) = detector.model, detector.input_size
        self._say(
            f"[bold]{escape(model.folder.name)}[/]: {model.model.backend} {model.precision}, "
            f"input {width}x{height} px"
        )

    def image(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        del image
        self._scores = [poses.keypoints[..., 2]]
        found = f"{_people(len(poses.keypoints))}{self._boxes(poses)}{self._sure()}"
        self._say(f"{escape(source.name)}: {found}{_arrow(written)}")

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        del video, image
        self._scores.append(poses.keypoints[..., 2])

    def video(self, video: Video, people: int, written: Path | None) -> None:
        seconds = f"{video.read / video.fps:.1f} s at {video.fps:.4g} fps"
        rate = people / video.read if video.read else 0.0
        many = f"{_people(rate)} a frame{self._sure()}"
        name = escape(video.path.name)
        if video.truncated:
            self._say(
                f"[bold red]truncated[/]: {name}: {video.read} of the {video.declared} frames "
                f"that the file promises could be read ({seconds}); the rest is missing or "
                f"damaged. {many}{_arrow(written)}"
            )
            return
        self._say(f"{name}: {video.read} frames ({seconds}), {many}{_arrow(written)}")

    def unreadable(self, source: Path, error: BadInputError) -> None:
        self._say(f"[bold red]left out[/]: {escape(source.name)}: {escape(error.found)}")

    def _sure(self) -> str:
        """How many keypoints are sure enough to be drawn; what to do if none is."""
        scores = np.concatenate(
            [part.ravel() for part in self._scores] or [np.empty(0, np.float32)]
        )
        self._scores = []
        if not scores.size:
            return ""
        limit = self._inference.min_score
        sure = int(np.count_nonzero(scores >= limit))
        best = f"; the best is {np.nanmax(scores):.2g}: lower --min-score" if not sure else ""
        return f", {sure} of {scores.size} keypoints with a score from {limit:g}{best}"

    def _boxes(self, poses: Poses) -> str:
        top_down = self._inference.detector.top_down
        whole = top_down and self._inference.boxes is None and len(poses.keypoints) > 0
        return " (the whole image as one box)" if whole else ""

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _people(count: float) -> str:
    if count == 0:
        return "nobody"
    return f"{count:.3g} {'person' if count == 1 else 'people'}"


def _arrow(written: Path | None) -> str:
    return f" -> {escape(str(written))}" if written else ""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
