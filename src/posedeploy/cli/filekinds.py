"""What a command is given in place of an image or a video: its kind, and cameras and streams.

A file's first bytes decide what it is; its suffix counts where they are of no known format.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from posedeploy.errors import BadInputError
from posedeploy.sdk.image_headers import format_of

IMAGES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
LIVE = "docs/python-api.md#cameras-and-streams"
_HEAD = 512  # bytes that are read to know what a file is

# ---- modify these tables to know another format --------------------------------------------
# fmt: off
# container -> what its files begin with
_CONTAINERS = {
    "ASF (WMV)":    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
    "AVI":          rb"RIFF.{4}AVI ",
    "FLV":          rb"FLV\x01",
    "MP4 or MOV":   rb"[\x00-\x08].{3}(?:ftyp|moov|mdat|wide|skip)",  # ISO/IEC 14496-12
    "MPEG":         rb"\x00\x00\x01[\xb3\xba]",
    "MPEG-TS":      rb"\x47.{187}\x47.{187}\x47|.{4}\x47.{191}\x47.{191}\x47",  # and M2TS
    "Matroska":     rb"\x1a\x45\xdf\xa3",
    "Ogg":          rb"OggS",
    "Y4M":          rb"YUV4MPEG2 ",
}
# what a word is that names no file -> (pattern, command that makes a file of it)
_NO_FILES = {
    "the number of a camera": (
        r"\d+", "ffmpeg -f v4l2 -i /dev/video{word} {part}"),
    "standard input": (
        "-", "cat > image.jpg"),
    "a device": (
        r"/dev/.+", "ffmpeg -f v4l2 -i {word} {part}"),
    "the address of a stream": (
        r"(?:rtsp|rtsps|rtmp|rtmps|rtp|udp|srt|mms)://.+|https?://.+\.(?:m3u8|mpd)(?:\?.*)?",
        "ffmpeg -i {word} {part}"),
    "the address of a file": (
        r"https?://.+", "curl --fail --location --remote-name {word}"),
}
# fmt: on
# --------------------------------------------------------------------------------------------
_STREAM = r"(?:https?|mms|rtmps?|rtp|rtsps?|srt|udp)://.+"
_VIDEO_DEVICE = r"/dev/video\d+"  # of Video4Linux
_FRAME = b"\x21\xf9\x04"  # of a GIF: begins the block before each frame of an animation
_COLLAPSED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # `Path` makes one slash of two


def is_video(path: Path, *, by_suffix: bool = True) -> bool:
    """Whether a file is a video: by its content, or else by its suffix (unless that is False)."""
    image, container = _formats(path)
    return bool(container) or (by_suffix and not image and path.suffix.lower() in VIDEOS)


def is_image_or_video(path: Path) -> bool:
    """Whether a file is one of them, by its content or by its suffix."""
    return path.suffix.lower() in (*IMAGES, *VIDEOS) or any(_formats(path))


def _formats(path: Path) -> tuple[str, str]:
    """Names of the image format and of the container that a file begins like; '' for neither."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            animated = head.startswith(b"GIF8") and (head + file.read()).count(_FRAME) > 1
    except OSError:
        return "", ""  # whoever reads the file says why it cannot be
    if animated:
        return "", "animated GIF"
    if image := format_of(head):
        return image, ""
    named = (name for name, start in _CONTAINERS.items() if re.match(start, head, re.DOTALL))
    return "", next(named, "")


def check_no_stream(word: str, part: str = "-t 10 clip.mp4") -> None:
    """Raise BadInputError for a camera, a device, a stream or a URL in place of a file.

    `part` is what of a stream is wanted, as ffmpeg's options.
    """
    word = _COLLAPSED.sub(r"\1://", word, count=1)
    for found, (pattern, command) in _NO_FILES.items():
        if re.fullmatch(pattern, word, re.IGNORECASE):
            made = command.format(word=shlex.quote(word), part=part)
            raise BadInputError(
                f"image {word}", found, "a file: nothing is read from cameras and networks",
                f"Make a file of it: {made} (in Python, frame by frame: {LIVE})",
            )  # fmt: skip


def live_address(word: str) -> str | int | None:
    """What OpenCV opens: a camera's number, or the path or address of something live.

    None for other words, and for the addresses of images: those are files.
    """
    if re.fullmatch(r"\d{1,4}", word):
        return int(word)
    if Path(word).is_fifo() or re.fullmatch(_VIDEO_DEVICE, word):
        return word
    address = _COLLAPSED.sub(r"\1://", word, count=1)
    a_file = address.partition("?")[0].lower().endswith(IMAGES)
    return address if re.fullmatch(_STREAM, address, re.IGNORECASE) and not a_file else None


def check_images(paths: Sequence[Path]) -> None:
    """Raise BadInputError for a video, a camera, a stream or a checkpoint in place of an image."""
    from posedeploy.apis.sources import GENERATED, PUBLISHED

    one = "-frames:v 1 frame.png"
    for path in paths:
        if not path.is_file():
            check_no_stream(str(path), one)
        if path.suffix == ".pth" or str(path) in {*GENERATED, PUBLISHED}:
            raise BadInputError(
                f"image {path}", "a checkpoint", "an image",
                "The order is DEPLOY_CFG MODEL_CFG CHECKPOINT IMAGE.",
            )  # fmt: skip
        if container := _formats(path)[1]:
            raise BadInputError(
                f"image {path}", f"a video ({container})", "an image",
                f"Take a frame of it: ffmpeg -i {shlex.quote(str(path))} {one}",
            )  # fmt: skip
