"""What `posedeploy infer` says: lines for a person, or JSON lines for another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console

from posedeploy.errors import BadInputError
from posedeploy.sdk import PoseDetector, Poses

from .inference import Inference
from .media import Image
from .terminal import escape, to_json
from .videos import Video


def people_json(poses: Poses) -> list[dict[str, Any]]:
    """People as JSON: boxes and keypoints in image px, keypoints as [x, y, score]."""
    return [
        {"box": box.tolist(), "score": float(score), "keypoints": points.tolist()}
        for box, score, points in zip(poses.boxes, poses.scores, poses.keypoints, strict=True)
    ]


def _size(image: Image) -> dict[str, int]:
    return {"width": image.shape[1], "height": image.shape[0]}


class JsonLines:
    """One JSON object a line: the model, then pictures, frames and videos as they are done."""

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

    def picture(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        self._line(
            kind="picture", source=str(source), **_size(image), people=people_json(poses),
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
    """A line a picture and a line a video."""

    def __init__(self, console: Console, inference: Inference) -> None:
        self._console = console
        self._inference = inference

    def start(self, detector: PoseDetector) -> None:
        """Say which model it is."""
        model, (width, height) = detector.model, detector.input_size
        self._say(
            f"[bold]{escape(model.model.name)}[/] on {model.model.backend} {model.precision}, "
            f"input {width}x{height}"
        )

    def picture(self, source: Path, image: Image, poses: Poses, written: Path | None) -> None:
        del image
        self._say(f"{escape(source.name)}: {self._found(poses)}{_arrow(written)}")

    def frame(self, video: Video, image: Image, poses: Poses) -> None:
        del video, image, poses  # the progress bar counts them

    def video(self, video: Video, people: int, written: Path | None) -> None:
        seconds = f"{video.read / video.fps:.1f} s at {video.fps:.4g} fps"
        many = f"{people / video.read:.3g} people a frame" if video.read else "nobody"
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

    def _found(self, poses: Poses) -> str:
        """How many people, and how many of their keypoints are sure enough to be drawn."""
        count = len(poses.keypoints)
        if not count:
            return "nobody found"
        people = "1 person" if count == 1 else f"{count} people"
        if self._inference.detector.top_down and self._inference.boxes is None:
            people += " (the whole picture as one box)"
        scores = poses.keypoints[..., 2]
        limit = self._inference.min_score
        sure = int(np.count_nonzero(scores >= limit))
        return f"{people}, {sure} of {scores.size} keypoints with a score from {limit:g}"

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _arrow(written: Path | None) -> str:
    return f" -> {escape(str(written))}" if written else ""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
