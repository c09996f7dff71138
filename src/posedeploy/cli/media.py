"""Images and videos: found by path, folder or pattern; videos read and written with OpenCV."""

from __future__ import annotations

import glob
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from posedeploy.errors import BadInputError, UnavailableError, did_you_mean, names_beside
from posedeploy.paths import whole_file
from posedeploy.sdk.images import Image

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV with FFmpeg can write
DEFAULT_FPS = 25.0  # for a file without a frame rate
_PATTERN = frozenset("*?[")
_BOXED = (".m4v", ".mov", ".mp4")
# Where a container holds no frame count, it is computed from the duration and rounded; a video is
# truncated if more frames are missing than the larger of this number and this part.
_ROUNDED_FRAMES, _ROUNDED_PART = 2, 0.01


@dataclass(frozen=True)
class Source:
    """An image or a video; `named` is False if it comes from a folder or a pattern."""

    path: Path
    is_video: bool
    named: bool


def find_sources(words: Sequence[str]) -> tuple[Source, ...]:
    """The files of paths, folders and patterns such as 'photos/**/*.jpg'; each file once.

    Raises:
        BadInputError: One of them matches nothing.
    """
    sources: dict[Path, Source] = {}
    for source in itertools.chain.from_iterable(map(_sources, words)):
        sources.setdefault(source.path, source)
    return tuple(sources.values())


def _sources(word: str) -> list[Source]:
    path = Path(word)
    if path.is_file():
        return [Source(path, path.suffix.lower() in VIDEOS, named=True)]
    if path.is_dir():
        return _by_suffix(sorted(path.iterdir()), f"folder {word}")
    if _PATTERN & set(word):
        return _by_suffix(sorted(map(Path, glob.glob(word, recursive=True))), f"pattern {word}")
    raise BadInputError(
        f"image {word}", "no such file", "an image, a video, a folder or a pattern",
        did_you_mean(path.name, names_beside(path), "Check the path."),
    )  # fmt: skip


def _by_suffix(paths: Sequence[Path], subject: str) -> list[Source]:
    """The paths that are images or videos by their suffix."""
    suffixes = (*IMAGES, *VIDEOS)
    sources = [
        Source(path, path.suffix.lower() in VIDEOS, named=False)
        for path in paths
        if path.suffix.lower() in suffixes and path.is_file()
    ]
    if not sources:
        others = ", ".join(path.name for path in paths[:3])
        raise BadInputError(
            subject, f"no image or video{f', but {others}' if others else ''}",
            f"files that end in {', '.join(s[1:] for s in suffixes)}",
            "Check the path; patterns go down into folders with **.",
        )  # fmt: skip
    return sources


def drawn_names(sources: Sequence[Source]) -> list[str]:
    """A unique file name for the drawing of each source."""
    names: list[str] = []
    for source in sources:
        suffix = ".mp4" if source.is_video else source.path.suffix.lower()
        suffix = suffix if suffix in (*IMAGES, ".mp4") else ".jpg"
        count, name = 1, f"{source.path.stem}_poses{suffix}"
        while name in names:
            count += 1
            name = f"{source.path.stem}_poses_{count}{suffix}"
        names.append(name)
    return names


@dataclass
class Video:
    """An open video."""

    path: Path
    fps: float
    declared: int  # frames, by the file's header; 0 without a declaration
    capture: cv2.VideoCapture
    read: int = 0  # frames
    stopped: bool = False  # True if the user stopped before the end

    def frames(self) -> Iterator[Image]:
        """The frames that can be read, `[H, W, 3]` uint8, BGR."""
        while True:
            success, frame = self.capture.read()
            if not success or frame is None:
                return
            self.read += 1
            yield frame  # type: ignore[misc]

    @property
    def truncated(self) -> bool:
        """True if fewer frames could be read than the file declares."""
        missing = self.declared - self.read
        return not self.stopped and missing > max(_ROUNDED_FRAMES, self.declared * _ROUNDED_PART)


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video; BadInputError if OpenCV cannot read its first frame."""
    # FFmpeg's own messages on standard error are replaced by the errors below
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.grab():
            raise _unreadable(path)
        capture.release()
        capture.open(str(path), cv2.CAP_FFMPEG)  # seeking back is not exact in every container
        fps = frame_rate(capture.get(cv2.CAP_PROP_FPS))
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        yield Video(path, fps, max(declared, 0), capture)
    finally:
        capture.release()


def frame_rate(declared: float) -> float:
    """The declared frames per second if they are plausible, else `DEFAULT_FPS`."""
    return declared if 0 < declared <= 1000 else DEFAULT_FPS


def _unreadable(path: Path) -> BadInputError:
    size = f"{path.stat().st_size:,} bytes"
    if path.suffix.lower() in _BOXED and "moov" not in _boxes(path):
        return BadInputError(
            f"video {path}",
            f"{size} without an index (moov), so that no frame can be read: a file that was cut "
            "off, or whose recording did not end well",
            "a whole video", "Copy it again from where it came from.",
        )  # fmt: skip
    return BadInputError(
        f"video {path}",
        f"{size} of which OpenCV can read no frame: no codec for it here, or a damaged file",
        "a whole video in a format that OpenCV's FFmpeg knows (MP4 with H.264, AVI, WebM)",
        f"Try to play it; to convert it: ffmpeg -i {path.name} -c:v libx264 {path.stem}_new.mp4",
    )


def _boxes(path: Path) -> list[str]:
    """Types of the outermost boxes of an MP4 file (ISO/IEC 14496-12, 4.2); [] for other files."""
    types, length, start = [], path.stat().st_size, 0
    with path.open("rb") as file:
        while start + 8 <= length:
            file.seek(start)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            types.append(kind.decode("latin-1"))
            if size < 8:  # 0: up to the end of the file; others are invalid
                break
            start += size
    return types


@contextmanager
def write_video(path: Path, fps: float, codec: str = CODEC) -> Iterator[Callable[[Image], None]]:
    """A function that appends a frame to an MP4 file.

    The file is written if the block ends without an error, and not at all otherwise.

    Raises:
        UnavailableError: The OpenCV that is installed cannot write videos.
    """
    writer, size = cv2.VideoWriter(), (0, 0)  # opened with the size of the first frame
    with whole_file(path) as temporary:

        def write(image: Image) -> None:
            nonlocal size
            if not writer.isOpened():
                size = image.shape[1], image.shape[0]
                fourcc = cv2.VideoWriter.fourcc(*codec)
                if not writer.open(str(temporary), cv2.CAP_FFMPEG, fourcc, fps, size):
                    raise UnavailableError(
                        f"video {path}", f"an OpenCV that cannot write {codec}",
                        "OpenCV with FFmpeg, as its wheels have it",
                        "Install opencv-python-headless, or use --json, which writes no video.",
                    )  # fmt: skip
            if image.shape[1::-1] != size:  # the writer would drop it silently
                image = cv2.resize(image, size)  # type: ignore[assignment]
            writer.write(image)

        try:
            yield write
        finally:
            writer.release()
