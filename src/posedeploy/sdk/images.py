"""Images: read within a limit of pixels, written whole or not at all, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError, did_you_mean, names_beside, what_it_is
from posedeploy.paths import whole_file
from posedeploy.sdk.image_headers import declared_size, ends_early, format_of

Image = NDArray[np.uint8]  # [H, W, 3], BGR

MAX_PIXELS = 100_000_000  # of an image unless the caller sets another limit: 300 MB decoded
# OpenCV ends with SIGSEGV on arrays above 2 GiB: the limit of the limits.
MOST_PIXELS = (2**31 - 1) // 3
# Bytes of a file that is read: of its largest pixels (four channels of 16 bits), and of what
# comes beside them (profiles, previews), whatever the limit of pixels.
_BYTES_PER_PIXEL, _BYTES_BESIDE = 8, 64 << 20
# How a file is read, in the words of `LoadImageFromFile.color_type`, and OpenCV's flags for it;
# MMCV 2.1.0 has the same in `mmcv.image.io.imread_flags`.
COLOR_TYPES = {
    "color": cv2.IMREAD_COLOR,
    "color_ignore_orientation": cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION,
}
_START = 512  # bytes by which the format of a file is known
_READER = "posedeploy.sdk.images.read_image"
_RAISE_LIMIT = "Make the image smaller, or raise the limit: --max-pixels, max_pixels in Python."

_RESAVE = "If other programs open it, save it as PNG; if none does, it is damaged."
_SAVE_AS = {"TIFF": "If its samples are floating-point, scale them to 0..255 and save it as PNG."}


def read_image(path: Path, max_pixels: int = MAX_PIXELS, color_type: str = "color") -> Image:
    """An image file as `[H, W, 3]` uint8, BGR.

    What the header declares is checked before it is decoded. The first image of a file with
    several is taken; one that a camera has turned is turned back, if its color type says so.

    Args:
        path: The file; its name may be of any bytes.
        max_pixels: Width times height that are decoded; at most `MOST_PIXELS` are in any case.
        color_type: A key of `COLOR_TYPES`: 'color', or 'color_ignore_orientation', which leaves
            the pixels as the camera wrote them.

    Raises:
        BadInputError: No file, no image, one that was cut off, or one above the limit.
    """
    subject = f"image {path}"
    data = _content(path, subject, max_pixels)
    if (size := declared_size(data)) is None:
        raise _unreadable(path, subject)
    check_size(size, subject, max_pixels)
    if kind := ends_early(data):
        found = f"a {kind} file of {len(data):,} bytes that ends before the image does"
        raise BadInputError(subject, found, "a whole image", "Copy or download it again.")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), COLOR_TYPES[color_type])
    except (cv2.error, MemoryError) as error:
        raise _unreadable(path, subject) from error
    if image is None:
        raise _unreadable(path, subject)
    return image  # type: ignore[return-value]


def _content(path: Path, subject: str, max_pixels: int) -> bytes:
    """The bytes of a file, unless they are more than an image of so many pixels can have."""
    try:
        if path.is_dir():
            raise BadInputError(subject, "a folder", "an image", "Name one of the files in it.")
        if not path.is_file():
            next_step = did_you_mean(path.name, names_beside(path), "Check the path.")
            raise BadInputError(subject, "no such file", "an image", next_step)
        size, most = path.stat().st_size, _BYTES_BESIDE + _BYTES_PER_PIXEL * max_pixels
        if size > most:
            found, expected = f"a file of {size:,} bytes", f"at most {most:,} bytes"
            raise BadInputError(subject, found, expected, _RAISE_LIMIT)
        return path.read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
        raise BadInputError(subject, found, "a file that can be read", "Check it.") from error


def image_format(path: Path) -> str:
    """Name of the image format that a file begins like; '' for others, folders among them."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return format_of(file.read(_START))


def _unreadable(path: Path, subject: str) -> BadInputError:
    if name := image_format(path):
        size = f"{path.stat().st_size:,} bytes"
        found = f"a {name} image of {size} that OpenCV cannot read as 8-bit color"
        return BadInputError(subject, found, "a JPEG or PNG image", _SAVE_AS.get(name, _RESAVE))
    found = f"{what_it_is(path)} that OpenCV cannot read"
    return BadInputError(subject, found, "a JPEG or PNG image", "Check that the file is whole.")


def check_size(size: tuple[int, int], subject: str, max_pixels: int = MAX_PIXELS) -> None:
    """Raise a BadInputError if width times height, px, are above the limit."""
    (width, height), limit = size, min(max_pixels, MOST_PIXELS)
    if width * height > limit:
        found = f"{width}x{height} px, {width * height:,} in all"
        raise BadInputError(subject, found, f"at most {limit:,} px", _RAISE_LIMIT)


def write_image(path: Path, image: Image) -> None:
    """Write an image in the format of its suffix; it is there whole or not at all.

    Raises:
        BadInputError: OpenCV cannot write the format, or not an image of this size in it.
        OSError: The file system refused.
    """
    try:
        done, encoded = cv2.imencode(path.suffix, image)
    except (cv2.error, MemoryError) as error:
        found = f"OpenCV cannot write {path.suffix or 'a file without a suffix'}"
        raise BadInputError(str(path), found, "an image format", "Use .png.") from error
    if not done:
        height, width = image.shape[:2]
        found = f"{width}x{height} px, which OpenCV cannot write as {path.suffix}"
        raise BadInputError(str(path), found, "sides that the format can hold", "Use .png.")
    with whole_file(path) as written:
        written.write_bytes(encoded.tobytes())


def check_image(image: Any, max_pixels: int = MAX_PIXELS) -> Image:
    """The image; a BadInputError where it is no uint8 array `[H, W, 3]` with pixels in it.

    More pixels than the limit are refused too. Any strides will do: OpenCV copies what is not
    contiguous.
    """
    found = f"a {type(image).__name__}"
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            check_size((image.shape[1], image.shape[0]), "image", max_pixels)
            return image
        found = f"a {image.dtype} array of shape {list(image.shape)}"
    expected, next_step = "a uint8 array [H, W, 3], BGR", f"Read the file with {_READER}."
    raise BadInputError("image", found, expected, next_step)
