"""What `infer` prints on what it has found, as lines of text or of JSON, and COCO's results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import typer
from rich.console import Console

from posedeploy.cli.infer.people import People
from posedeploy.cli.infer.sources import Source
from posedeploy.cli.infer.videos import Video
from posedeploy.cli.terminal import one_line, to_json
from posedeploy.errors import BadInputError
from posedeploy.paths import whole_file
from posedeploy.sdk import DatasetMeta, PoseDetector
from posedeploy.sdk.poses import Poses

# Of a top-down model's keypoints, those whose scores count for the person's: mmpose 1.3.2,
# `CocoMetric` (score_mode 'bbox_keypoint', keypoint_score_thr 0.2).
_COCO_KEYPOINT_SCORE = 0.2


@dataclass
class Tally:
    """What was found in the frames of a video that were worked on."""

    frames: int = 0
    people: int = 0
    last: int = -1  # index of the last frame
    seconds: float = 0.0  # its time
    identities: set[int] | None = None  # None where nobody is tracked

    @property
    def dropped(self) -> int:
        """Frames that were read and not worked on."""
        return self.last + 1 - self.frames

    def add(self, people: People) -> None:
        """Count a frame."""
        self.frames, self.last = self.frames + 1, people.index
        self.people, self.seconds = self.people + len(people.poses.keypoints), people.time
        if people.identities is not None:
            self.identities = (self.identities or set()) | set(people.identities.tolist())


class Reporter(Protocol):
    """Is told of what is found, in the order of the sources."""

    def image(self, source: Source, people: People, written: Path | None) -> None:
        """An image, and the file of its drawing."""

    def frame(self, source: Source, people: People) -> None:
        """A frame of a video."""

    def video(self, video: Video, tally: Tally, written: Path | None) -> None:
        """A video, after its frames."""

    def unreadable(self, source: Source, error: BadInputError) -> None:
        """A source that is left out."""


def _found(people: People) -> dict[str, Any]:
    """Size and people as JSON: boxes and keypoints in image px, keypoints as [x, y, score].

    People of a model of several classes have a label, those of a model that tells which keypoints
    are visible a probability for each, and those that are tracked an identity.
    """
    poses = people.poses
    persons: list[dict[str, Any]] = [
        {"box": box.tolist(), "score": float(score), "keypoints": points.tolist()}
        for box, score, points in zip(poses.boxes, poses.scores, poses.keypoints, strict=True)
    ]
    more = {"label": poses.labels, "visible": poses.visible, "identity": people.identities}
    for name, values in more.items():
        for person, value in zip(persons, () if values is None else values.tolist(), strict=False):
            person[name] = value
    return {"width": people.image.shape[1], "height": people.image.shape[0], "people": persons}


class JsonLines:
    """One JSON object per line: the model, then images, frames and videos."""

    def start(self, detector: PoseDetector, meta: DatasetMeta) -> None:
        """The model, and the facts about the keypoints as they are printed."""
        model = detector.model
        names = {"class_names": list(meta.class_names)} if meta.class_names else {}
        self._line(
            kind="model", folder=str(model.folder), name=model.model.name,
            backend=model.model.backend, precision=model.precision,
            input_size=list(detector.input_size), top_down=detector.top_down,
            keypoint_names=list(meta.keypoint_names),
            skeleton=[list(link) for link in meta.skeleton_links], **names,
        )  # fmt: skip

    def image(self, source: Source, people: People, written: Path | None) -> None:
        path = str(written) if written else None
        self._line(kind="image", source=source.shown, **_found(people), written=path)

    def frame(self, source: Source, people: People) -> None:
        place = {"source": source.shown, "frame": people.index, "time": round(people.time, 6)}
        self._line(kind="frame", **place, **_found(people))

    def video(self, video: Video, tally: Tally, written: Path | None) -> None:
        tracked = {} if tally.identities is None else {"identities": len(tally.identities)}
        self._line(
            kind="video", source=video.shown, frames=tally.frames, declared=video.declared,
            fps=video.fps, people=tally.people, **tracked, dropped=tally.dropped,
            truncated=video.truncated, lost=video.lost, stopped=video.stopped,
            written=str(written) if written else None,
        )  # fmt: skip

    def unreadable(self, source: Source, error: BadInputError) -> None:
        self._line(kind="unreadable", source=source.shown, found=error.found)

    def _line(self, **content: Any) -> None:
        typer.echo(to_json(content))


@dataclass
class TextLines:
    """One line of text per image and video."""

    console: Console
    min_score: float  # of the keypoints that are drawn
    whole_images: bool  # a top-down model that has no boxes
    _scores: _Scores = field(init=False)

    def __post_init__(self) -> None:
        self._scores = _Scores(self.min_score)

    def start(self, detector: PoseDetector, meta: DatasetMeta) -> None:
        """The model."""
        del meta
        model, (width, height) = detector.model, detector.input_size
        self._print(
            f"[bold]{one_line(model.folder.name)}[/]: {model.model.backend} {model.precision}, "
            f"input {width}x{height} px"
        )

    def image(self, source: Source, people: People, written: Path | None) -> None:
        self._scores.add(people.poses)
        count = len(people.poses.keypoints)
        note = " (the whole image as one box)" if self.whole_images and count else ""
        line = f"{_people(count)}{note}{self._take()}{_arrow(written)}"
        self._print(f"{one_line(source.name)}: {line}")

    def frame(self, source: Source, people: People) -> None:
        del source
        self._scores.add(people.poses)

    def video(self, video: Video, tally: Tally, written: Path | None) -> None:
        name, frames = one_line(video.name), tally.frames
        length = tally.seconds if video.live else frames / video.fps
        seconds = f"{length:.1f} s at {video.fps:.4g} fps"
        tracked = "" if tally.identities is None else f", {_count(tally.identities)}"
        dropped = f", {tally.dropped} dropped" if tally.dropped > 0 else ""
        many = (
            f"{_people(tally.people / frames if frames else 0.0)} a frame{tracked}"
            f"{self._take()}{_arrow(written)}"
        )
        if video.truncated:
            self._print(
                f"[bold red]truncated[/]: {name}: {video.read} of the {video.declared} frames "
                f"that the file promises could be read ({seconds}); the rest is missing or "
                f"damaged. {many}"
            )
        elif video.lost:
            self._print(
                f"[bold red]ended[/]: {name}: no more frames after {frames} ({seconds}{dropped}): "
                f"the connection was lost, or the sender stopped. {many}"
            )
        else:
            stopped = "stopped: " if video.stopped else ""
            self._print(f"{stopped}{name}: {frames} frames ({seconds}{dropped}), {many}")

    def unreadable(self, source: Source, error: BadInputError) -> None:
        reason = one_line(f"{error.found}; expected {error.expected}")
        self._print(f"[bold red]left out[/]: {one_line(source.name)}: {reason}")

    def _take(self) -> str:
        """What was counted, for a line; begin again."""
        text, self._scores = self._scores.text(), _Scores(self.min_score)
        return text

    def _print(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


class _Scores:
    """How many keypoints of an image, or of a video's frames, have a score from a limit."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._count = self._drawn = 0
        self._best = -np.inf

    def add(self, poses: Poses) -> None:
        scores = poses.keypoints[..., 2]
        self._count += scores.size
        self._drawn += int(np.count_nonzero(scores >= self._limit))
        self._best = max(self._best, float(np.nanmax(scores, initial=-np.inf)))

    def text(self) -> str:
        """The number of keypoints that are drawn, and advice if there is none."""
        count, drawn = self._count, self._drawn
        if not count:
            return ""
        advice = "" if drawn else f"; the best is {self._best:.2g}: lower --min-score"
        return f", {drawn} of {count} keypoints with a score from {self._limit:g}{advice}"


def _people(count: float) -> str:
    if count == 0:
        return "nobody"
    return f"{count:.3g} {'person' if count == 1 else 'people'}"


def _count(identities: set[int]) -> str:
    return f"{len(identities)} {'identity' if len(identities) == 1 else 'identities'}"


def _arrow(written: Path | None) -> str:
    return f" -> {one_line(str(written))}" if written else ""


@dataclass
class CocoResults:
    """COCO's keypoint results: a list that `pycocotools` loads.

    An image has the number in its name, as COCO's images do, if all have one; else, as the frames
    of videos, the next number from 1. `file_name`, `frame` and `track_id` say what it stands for.
    """

    file: TextIO
    numbered: bool  # all sources are images with a number as their name
    top_down: bool
    _images: int = 0
    _written: int = 0

    def image(self, source: Source, people: People, written: Path | None) -> None:
        del written
        self._images += 1
        number = int(source.path.stem) if self.numbered else self._images
        self._add(number, people, {"file_name": source.name})

    def frame(self, source: Source, people: People) -> None:
        self._images += 1
        self._add(self._images, people, {"file_name": source.name, "frame": people.index})

    def video(self, video: Video, tally: Tally, written: Path | None) -> None:
        """Nothing: its frames are written."""

    def unreadable(self, source: Source, error: BadInputError) -> None:
        """Nothing was found."""

    def _add(self, number: int, people: People, place: dict[str, Any]) -> None:
        poses = people.poses
        for n, points in enumerate(poses.keypoints):
            label = 0 if poses.labels is None else int(poses.labels[n])
            who = {} if people.identities is None else {"track_id": int(people.identities[n])}
            entry = {
                "image_id": number, "category_id": 1 + label, "keypoints": points.ravel().tolist(),
                "score": self._score(poses, n), **place, **who,
            }  # fmt: skip
            self.file.write(f"{',' if self._written else ''}\n{to_json(entry)}")
            self._written += 1

    def _score(self, poses: Poses, person: int) -> float:
        """The person's score, as mmpose's `CocoMetric` has it."""
        score, points = float(poses.scores[person]), poses.keypoints[person, :, 2]
        if not self.top_down:
            return score
        valid = points[points > _COCO_KEYPOINT_SCORE]
        return score * float(valid.mean()) if valid.size else 0.0


@contextmanager
def coco_results(path: Path, sources: Sequence[Source], top_down: bool) -> Iterator[CocoResults]:
    """A reporter that writes a file: whole, up to where Ctrl-C stopped it, or not at all.

    Raises:
        OSError: The file system refused.
    """
    if path.is_dir():
        raise BadInputError(f"--coco {path}", "a folder", "a file", "Add a name to it.")
    stems = [source.path.stem for source in sources if not source.is_video]
    whole = len(stems) == len(sources) and all(map(str.isdecimal, stems))
    numbered = whole and len({int(stem) for stem in stems}) == len(stems)
    interrupted: BaseException | None = None
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("[")
        try:
            yield CocoResults(file, numbered, top_down)
        except (KeyboardInterrupt, SystemExit) as signal:
            interrupted = signal
        file.write("\n]\n")
    if interrupted is not None:
        raise interrupted
