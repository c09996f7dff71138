"""Images: read, written whole or not at all, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError, did_you_mean, names_beside, what_it_is
from posedeploy.paths import whole_file

Image = NDArray[np.uint8]  # [H, W, 3], BGR


def read_image(path: Path) -> Image:
    """An image file as `[H, W, 3]` uint8, BGR; a BadInputError where it is none."""
    subject = f"image {path}"
    if path.is_dir():
        raise BadInputError(subject, "a folder", "an image", "Name one of the files in it.")
    if not path.is_file():
        next_step = did_you_mean(path.name, names_beside(path), "Check the path.")
        raise BadInputError(subject, "no such file", "an image", next_step)
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        found = f"{what_it_is(path)} that OpenCV cannot read"
        next_step = "Check that the file is whole."
        raise BadInputError(subject, found, "a JPEG or PNG image", next_step)
    return image  # type: ignore[return-value]


def write_image(path: Path, image: Image) -> None:
    """Write an image in the format of its suffix; it is there whole or not at all."""
    try:
        encoded = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        found = f"OpenCV cannot write {path.suffix or 'a file without a suffix'}"
        raise BadInputError(str(path), found, "an image format", "Use .png.") from error
    with whole_file(path) as written:
        written.write_bytes(encoded.tobytes())


def check_image(image: Any) -> Image:
    """The image; a BadInputError where it is no uint8 array `[H, W, 3]` with pixels in it."""
    found = f"a {type(image).__name__}"
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
        found = f"a {image.dtype} array of shape {list(image.shape)}"
    expected, next_step = "a uint8 array [H, W, 3], BGR", "Read the file with cv2.imread."
    raise BadInputError("image", found, expected, next_step)
