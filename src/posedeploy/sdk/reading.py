"""An image file as the pipeline of an SDK model reads it: `infer` and the comparison read here."""

from __future__ import annotations

from pathlib import Path

from posedeploy.sdk.folder import SdkModel
from posedeploy.sdk.images import MAX_PIXELS, Image, check_image, read_image
from posedeploy.sdk.transforms import compile_transforms

ImageSource = str | Path | Image  # a file, or what was read: `[H, W, 3]` uint8, BGR


def read_for(model: SdkModel, source: ImageSource, max_pixels: int = MAX_PIXELS) -> Image:
    """`[H, W, 3]` uint8, BGR: a file read as the first transform of the model's pipeline reads it.

    An array is taken as it is.

    Raises:
        BadInputError: No file, no image, or one with more pixels than the limit.
    """
    return read_source(source, compile_transforms(model.transforms).color_type, max_pixels)


def read_source(source: ImageSource, color_type: str, max_pixels: int = MAX_PIXELS) -> Image:
    """The same by the `color_type` of `LoadImageFromFile`."""
    if isinstance(source, str | Path):
        return read_image(Path(source), max_pixels, color_type)
    return check_image(source, max_pixels)
