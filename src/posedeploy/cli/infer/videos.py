"""Videos, cameras and streams: read frame by frame, and written whole, with OpenCV."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from urllib.parse import urlsplit

import cv2

from posedeploy.cli.filekinds import is_video
from posedeploy.cli.infer.sources import Source, public_name
from posedeploy.errors import BadInputError, PoseDeployError, UnavailableError, what_it_is
from posedeploy.paths import whole_file
from posedeploy.sdk.images import MAX_PIXELS, Image, check_size
from posedeploy.sdk.streaming import AHEAD, PATIENCE

CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV with FFmpeg can write
DEFAULT_FPS = 25.0  # for a file without a frame rate
# Sides of a frame of MPEG-4 part 2, px: FFmpeg's encoder refuses larger ones.
MOST_SIDE = 8191
_BOXED = (".m4v", ".mov", ".mp4")
_PORTS = {"http": 80, "https": 443, "rtmp": 1935, "rtsp": 554, "rtsps": 322}  # IANA's; RTMP's
# Where a container holds no frame count, it is computed from the duration and rounded; a video is
# truncated if more frames are missing than the larger of this number and this part.
_ROUNDED_FRAMES, _ROUNDED_PART = 2, 0.01
SECONDS = 10  # that a stream may take to begin, and to send a frame
_TIME_LIMITS = (
    cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 1000 * SECONDS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 1000 * SECONDS,
)  # fmt: skip
AHEAD_BYTES = 64 << 20  # of frames that wait before a stage


@dataclass(frozen=True)
class Frame:
    """One image of a video."""

    image: Image  # [H, W, 3], BGR
    index: int  # from 0, of what was read
    time: float  # seconds: by the frame rate of a file, by the clock from the first one if live


@dataclass
class Video:
    """An open video, camera or stream."""

    name: str  # for people
    shown: str  # in JSON and in errors
    capture: cv2.VideoCapture
    nothing: Callable[[], PoseDeployError]  # the error where not one frame can be read
    endless: bool = False  # it does not end by itself, unless it declares how many frames it has
    size: tuple[int, int] = (0, 0)  # width and height, px
    fps: float = DEFAULT_FPS
    declared: int = 0  # frames, by the header; 0 without a declaration
    read: int = 0  # frames
    stopped: bool = False  # True if the user stopped before the end
    _reading: Lock = field(default_factory=Lock)

    def read_header(self) -> None:
        """Read what an open video declares, while no other thread reads its frames."""
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self.capture.get(side)) for side in sides)
        self.size, self.fps = (width, height), frame_rate(self.capture.get(cv2.CAP_PROP_FPS))
        self.declared = max(int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)

    @property
    def live(self) -> bool:
        """Whether its frames have the time at which they were read."""
        return self.endless and not self.declared

    def frames(self) -> Iterator[Frame]:
        """The frames that can be read.

        Raises:
            PoseDeployError: There is none.
        """
        began = 0.0
        while True:
            with self._reading:
                success, image = self.capture.read()
            if not success or image is None:
                if not self.read:
                    raise self.nothing()
                return
            now = time.monotonic()
            began = began or now
            seconds = now - began if self.live else self.read / self.fps
            self.read += 1
            yield Frame(image, self.read - 1, seconds)  # type: ignore[arg-type]

    def close(self) -> None:
        """Release the capture, unless a thread still waits for a frame of it."""
        if self._reading.acquire(timeout=PATIENCE):
            self.capture.release()

    @property
    def ahead(self) -> int:
        """Frames that may wait before a stage, so that they stay below `AHEAD_BYTES`."""
        width, height = self.size
        return min(AHEAD, AHEAD_BYTES // max(1, 3 * width * height))

    @property
    def lost(self) -> bool:
        """True if something that has no end of its own gave no more frames."""
        return self.live and not self.stopped

    @property
    def truncated(self) -> bool:
        """True if fewer frames could be read than the file declares."""
        missing = self.declared - self.read
        return not self.stopped and missing > max(_ROUNDED_FRAMES, self.declared * _ROUNDED_PART)


def open_source(source: Source, max_pixels: int = MAX_PIXELS) -> AbstractContextManager[Video]:
    """Open a video file, a camera or a stream.

    Raises:
        BadInputError: It has frames of more than `max_pixels`, or OpenCV can read none of a file.
        UnavailableError: There is no such camera, or the stream does not begin.
    """
    if source.address is None:
        return open_video(source.path, max_pixels)
    return open_live(source.address, max_pixels)


@contextmanager
def open_live(address: str | int, max_pixels: int = MAX_PIXELS) -> Iterator[Video]:
    """Open a camera, a stream or a pipe.

    Raises:
        BadInputError: Its frames have more than `max_pixels`.
        UnavailableError: There is no such camera, or the stream does not begin.
    """
    quiet_opencv()
    capture, shown = cv2.VideoCapture(), public_name(address)
    camera = isinstance(address, int) or address.startswith("/dev/")
    is_pipe = isinstance(address, str) and Path(address).is_fifo()

    def nothing() -> UnavailableError:
        return _no_camera(shown) if camera else _no_stream(str(address))

    with closing(Video(shown, shown, capture, nothing, endless=not is_pipe)) as video:
        if camera:
            opened = capture.open(address)
        else:
            place = str(Path(str(address)).absolute()) if is_pipe else str(address)
            opened = capture.open(place, cv2.CAP_FFMPEG, _TIME_LIMITS)
        if not opened:
            raise nothing()
        video.read_header()
        check_size(video.size, shown, max_pixels)
        yield video


def _no_camera(shown: str) -> UnavailableError:
    cameras = sorted(str(path) for path in Path("/dev").glob("video*"))
    there = f"those here are {', '.join(cameras)}" if cameras else "there is none here"
    return UnavailableError(
        shown, f"no camera that OpenCV can open ({there})", "a camera that no other program uses",
        "Check that it is connected, and that you may read it.",
    )  # fmt: skip


def _no_stream(address: str) -> UnavailableError:
    shown = public_name(address)
    return UnavailableError(
        f"stream {shown}", _why_no_stream(address), "a video that OpenCV's FFmpeg can read",
        f"Try to play it: ffplay {shown}",
    )  # fmt: skip


def _why_no_stream(address: str) -> str:
    """Whether anything answers at the address; FFmpeg's own reason is not known."""
    parts = urlsplit(address)
    try:
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError as error:
        return f"an address that is none: {error}"
    if not parts.hostname or port is None or parts.scheme.lower() not in _PORTS:  # UDP, a file
        return f"nothing in {SECONDS} s that can be read as a video"
    place = f"{parts.hostname}:{port}"
    try:
        socket.create_connection((parts.hostname, port), SECONDS / 2).close()
    except OSError as error:
        return f"no connection to {place}: {error.strerror or error}"
    return f"no video from {place}, which answers: a wrong path or password, or another format"


@contextmanager
def open_video(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Video]:
    """Open a video.

    Raises:
        BadInputError: It declares frames of more than `max_pixels`, or OpenCV cannot read one.
    """
    quiet_opencv()
    capture = cv2.VideoCapture()
    video = Video(path.name, str(path), capture, lambda: _unreadable(path))
    with _opencv_path(path) as opened, closing(video):
        if not capture.open(opened, cv2.CAP_FFMPEG):
            raise _unreadable(path)
        video.read_header()
        check_size(video.size, f"video {path}", max_pixels)
        if not capture.grab():
            raise _unreadable(path)
        capture.release()
        capture.open(opened, cv2.CAP_FFMPEG)  # seeking back is not exact in every container
        yield video


def quiet_opencv() -> None:
    """Keep OpenCV's and FFmpeg's messages off standard error: the errors here replace them."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


@contextmanager
def _opencv_path(path: Path) -> Iterator[str]:
    """An absolute path for OpenCV to open a video at.

    OpenCV ends with SIGSEGV on a name that is not UTF-8, which is opened through a link; and
    FFmpeg takes the name of a protocol for what a relative path has before a colon.
    """
    try:
        os.fsencode(path.absolute()).decode()
    except UnicodeDecodeError:
        with tempfile.TemporaryDirectory(prefix="posedeploy-") as folder:
            link = Path(folder) / f"video{path.suffix}"
            link.symlink_to(path.absolute())
            yield str(link)
    else:
        yield str(path.absolute())


def frame_rate(declared: float) -> float:
    """The declared frames per second if they are plausible, else `DEFAULT_FPS`."""
    return declared if 0 < declared <= 1000 else DEFAULT_FPS


def _unreadable(path: Path) -> BadInputError:
    size = f"{path.stat().st_size:,} bytes"
    if not is_video(path, by_suffix=False):
        return BadInputError(
            f"video {path}", f"{what_it_is(path)} that does not begin as a video does",
            "a video", "Check that it is the right file.",
        )  # fmt: skip
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
    return [kind for kind, _ in _boxes_and_ends(path)]


def _is_whole(path: Path) -> bool:
    """True for an MP4 file with an index, the last box of which ends where the file does."""
    boxes = _boxes_and_ends(path)
    return "moov" in dict(boxes) and boxes[-1][1] == path.stat().st_size


def _boxes_and_ends(path: Path) -> list[tuple[str, int]]:
    """Types of the outermost boxes, and the byte that each declares to end before."""
    boxes, length, start = [], path.stat().st_size, 0
    with path.open("rb") as file:
        while start + 8 <= length:
            file.seek(start)
            size, kind = struct.unpack(">I4s", file.read(8))
            if size == 1:
                size = int.from_bytes(file.read(8), "big")
            boxes.append((kind.decode("latin-1"), start + size))
            if size < 8:  # 0: up to the end of the file; others are invalid
                break
            start += size
    return boxes


@contextmanager
def write_video(path: Path, fps: float, codec: str = CODEC) -> Iterator[Callable[[Image], None]]:
    """A function that appends a frame to an MP4 file.

    The file is written if the block ends without an error, and not at all otherwise.

    Raises:
        BadInputError: The frames are too large for the codec.
        OSError: The disk is full.
        UnavailableError: The OpenCV that is installed cannot write videos, or has left out a part.
    """
    writer, size = cv2.VideoWriter(), (0, 0)  # opened with the size of the first frame
    with whole_file(path) as temporary, _opencv_path(temporary) as opened:

        def write(image: Image) -> None:
            nonlocal size
            if not writer.isOpened():
                size = image.shape[1], image.shape[0]
                if max(size) > MOST_SIDE:
                    found, expected = f"frames of {size[0]}x{size[1]} px", f"up to {MOST_SIDE} px"
                    raise BadInputError(f"video {path}", found, expected, "Use --json.")
                fourcc = cv2.VideoWriter.fourcc(*codec)
                if not writer.open(opened, cv2.CAP_FFMPEG, fourcc, fps, size):
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
        if not _is_whole(temporary):  # OpenCV reports no error of writing
            raise UnavailableError(
                f"video {path}", "a file that OpenCV has not written to its end", "a whole file",
                "Check the space and the quota there.",
            )  # fmt: skip
