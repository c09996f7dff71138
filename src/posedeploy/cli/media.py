"""Images and videos: found by path, folder or pattern; videos read and written with OpenCV."""

from __future__ import annotations

import glob
import hashlib
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from posedeploy.cli.filekinds import (
    IMAGES,
    VIDEOS,
    check_no_stream,
    is_image_or_video,
    is_video,
)
from posedeploy.errors import (
    BadInputError,
    UnavailableError,
    did_you_mean,
    names_beside,
    what_it_is,
)
from posedeploy.paths import whole_file
from posedeploy.sdk.images import MAX_PIXELS, Image, check_size

CODEC = "mp4v"  # MPEG-4 part 2, which every build of OpenCV with FFmpeg can write
DEFAULT_FPS = 25.0  # for a file without a frame rate
# Sides of a frame of MPEG-4 part 2, px: FFmpeg's encoder refuses larger ones.
MOST_SIDE = 8191
# Bytes of a file name, the limit of most file systems; digits of a hash for a shortened one.
_NAME_BYTES, _HASH_DIGITS = 255, 8
_PATTERN = frozenset("*?[")
_BOXED = (".m4v", ".mov", ".mp4")
# Where a container holds no frame count, it is computed from the duration and rounded; a video is
# truncated if more frames are missing than the larger of this number and this part.
_ROUNDED_FRAMES, _ROUNDED_PART = 2, 0.01


@dataclass(frozen=True)
class Source:
    """An image or a video; `alone` if the user named it, and nothing else."""

    path: Path
    is_video: bool
    alone: bool


@dataclass(frozen=True)
class Found:
    """What paths, folders and patterns stand for; `left_out` is neither image nor video."""

    sources: tuple[Source, ...]
    left_out: tuple[Path, ...] = ()


def find_sources(words: Sequence[str]) -> Found:
    """The files of paths, folders and patterns such as 'photos/**/*.jpg'; each file once.

    Raises:
        BadInputError: One of them matches nothing, or is a camera or the address of something.
    """
    sources: dict[Path, Source] = {}
    left_out: dict[Path, None] = {}
    for found in map(_found, words):
        left_out |= dict.fromkeys(found.left_out)
        for source in found.sources:
            sources.setdefault(source.path, source)
    alone = len(sources) == 1
    return Found(
        tuple(s if alone else replace(s, alone=False) for s in sources.values()), tuple(left_out)
    )


def _found(word: str) -> Found:
    path = Path(word)
    if path.is_file():
        return Found((Source(path, is_video(path), alone=True),))
    if path.is_dir():
        return _among(sorted(path.iterdir()), f"folder {word}")
    check_no_stream(word)
    if _PATTERN & set(word):
        return _among(sorted(map(Path, glob.glob(word, recursive=True))), f"pattern {word}")
    raise BadInputError(
        f"image {word}", "no regular file" if path.exists() else "no such file",
        "an image, a video, a folder or a pattern",
        did_you_mean(path.name, names_beside(path), "Check the path."),
    )  # fmt: skip


def _among(paths: Sequence[Path], subject: str) -> Found:
    """Those of the paths that are images or videos; what is hidden is passed over."""
    files = [path for path in paths if path.is_file()]
    sources = [path for path in files if is_image_or_video(path)]
    if not sources:
        others = ", ".join(path.name for path in paths[:3])
        raise BadInputError(
            subject, f"no image or video{f', but {others}' if others else ''}",
            f"files that end in {', '.join(s[1:] for s in (*IMAGES, *VIDEOS))}",
            "Check the path; patterns go down into folders with **.",
        )  # fmt: skip
    return Found(
        tuple(Source(path, is_video(path), alone=False) for path in sources),
        tuple(p for p in paths if p not in sources and not p.name.startswith(".")),
    )


def drawn_names(sources: Sequence[Source]) -> list[str]:
    """A unique file name for the drawing of each source."""
    names: dict[str, None] = {}  # in order
    for source in sources:
        suffix = ".mp4" if source.is_video else source.path.suffix.lower()
        suffix = suffix if suffix in (*IMAGES, ".mp4") else ".jpg"
        name = _fitting(source.path.stem, f"_poses{suffix}")
        count = 1
        while name in names:
            count += 1
            name = _fitting(source.path.stem, f"_poses_{count}{suffix}")
        names[name] = None
    return list(names)


def _fitting(stem: str, end: str) -> str:
    """Stem and end; if they are too long for a file name, a hash replaces the rest of the stem."""
    content, room = os.fsencode(stem), _NAME_BYTES - len(os.fsencode(end))
    if len(content) > room:
        digits = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
        cut = content[: room - 1 - _HASH_DIGITS].decode(errors="ignore")
        return f"{cut}-{digits}{end}"
    return f"{stem}{end}"


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
        """The frames that can be read, `[H, W, 3]` uint8, BGR; BadInputError if there is none."""
        while True:
            success, frame = self.capture.read()
            if not success or frame is None:
                if not self.read:
                    raise _unreadable(self.path)
                return
            self.read += 1
            yield frame  # type: ignore[misc]

    @property
    def truncated(self) -> bool:
        """True if fewer frames could be read than the file declares."""
        missing = self.declared - self.read
        return not self.stopped and missing > max(_ROUNDED_FRAMES, self.declared * _ROUNDED_PART)


@contextmanager
def open_video(path: Path, max_pixels: int = MAX_PIXELS) -> Iterator[Video]:
    """Open a video.

    Raises:
        BadInputError: It declares frames of more than `max_pixels`, or OpenCV cannot read one.
    """
    quiet_opencv()
    capture = cv2.VideoCapture()
    with _opencv_path(path) as opened:
        try:
            if not capture.open(opened, cv2.CAP_FFMPEG):
                raise _unreadable(path)
            sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            width, height = (int(capture.get(side)) for side in sides)
            check_size((width, height), f"video {path}", max_pixels)
            if not capture.grab():
                raise _unreadable(path)
            capture.release()
            capture.open(opened, cv2.CAP_FFMPEG)  # seeking back is not exact in every container
            fps = frame_rate(capture.get(cv2.CAP_PROP_FPS))
            declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            yield Video(path, fps, max(declared, 0), capture)
        finally:
            capture.release()


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
