"""Videos through OpenCV: how many frames a file promises, how many there are, and writing one."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from posedeploy.errors import BadInputError, UnavailableError
from posedeploy.paths import whole_file
from posedeploy.sdk.regions import Image

CODEC = "mp4v"  # MPEG-4 part 2: the one that every build of OpenCV with FFmpeg can write
DEFAULT_FPS = 25.0  # for a file that does not say
_BOXED = (".m4v", ".mov", ".mp4")
# Containers that hold no count of frames have it computed from their duration, rounded; so many
# frames fewer, or such a part of them, are no sign of a file that was cut off.
_FEWER, _PART = 2, 0.01


@dataclass
class Video:
    """A video that was opened.

    Attributes:
        path: The file.
        fps: Frames a second.
        declared: How many frames the file promises; 0 where it does not say.
        read: How many have been read.
        stopped: True if somebody wanted no more of them.
    """

    path: Path
    fps: float
    declared: int
    capture: cv2.VideoCapture
    read: int = 0
    stopped: bool = False

    def frames(self) -> Iterator[Image]:
        """The frames, `[H, W, 3]` uint8, BGR, until there are no more that can be read."""
        while True:
            there, frame = self.capture.read()
            if not there or frame is None:
                return
            self.read += 1
            yield frame  # type: ignore[misc]

    @property
    def truncated(self) -> bool:
        """True if all that can be read has been, and it is less than the file promises."""
        missing = self.declared - self.read
        return not self.stopped and missing > max(_FEWER, self.declared * _PART)


@contextmanager
def open_video(path: Path) -> Iterator[Video]:
    """Open a video.

    Raises:
        BadInputError: OpenCV cannot read its first frame.
    """
    # FFmpeg writes to standard error what is told below in better words
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened() or not capture.grab():
            raise _unreadable(path)
        capture.release()
        capture.open(str(path), cv2.CAP_FFMPEG)  # seeking back is not exact in every container
        fps = capture.get(cv2.CAP_PROP_FPS)
        declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        yield Video(path, fps if 0 < fps <= 1000 else DEFAULT_FPS, max(declared, 0), capture)
    finally:
        capture.release()


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
            if size < 8:  # 0: to the end of the file; anything else is no box
                break
            start += size
    return types


@contextmanager
def write_video(path: Path, fps: float, codec: str = CODEC) -> Iterator[Callable[[Image], None]]:
    """A function that adds a frame to an MP4 file.

    The file is there whole, once the block has ended well, or not at all.

    Args:
        path: The file, '.mp4'.
        fps: Frames a second.
        codec: Four letters by which FFmpeg knows it.

    Raises:
        UnavailableError: The OpenCV that is installed cannot write videos.
    """
    writers: list[tuple[cv2.VideoWriter, tuple[int, int]]] = []

    def opened(temporary: Path, size: tuple[int, int]) -> cv2.VideoWriter:
        letters = cv2.VideoWriter.fourcc(*codec)
        writer = cv2.VideoWriter(str(temporary), cv2.CAP_FFMPEG, letters, fps, size)
        if not writer.isOpened():
            raise UnavailableError(
                f"video {path}", f"an OpenCV that cannot write {codec}",
                "OpenCV with FFmpeg, as its wheels have it",
                "Install opencv-python-headless, or use --json, which writes no video.",
            )  # fmt: skip
        return writer

    with whole_file(path) as temporary:

        def write(image: Image) -> None:
            if not writers:
                size = image.shape[1], image.shape[0]
                writers.append((opened(temporary, size), size))
            writer, size = writers[0]
            if image.shape[1::-1] != size:  # which the writer would leave out without a word
                image = cv2.resize(image, size)  # type: ignore[assignment]
            writer.write(image)

        try:
            yield write
        finally:
            for writer, _ in writers:
                writer.release()
