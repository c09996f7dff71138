"""Images, and the parts of them that become inputs of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.geometry import Floats

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """The part of an image that becomes one input of the network.

    Attributes:
        image: The image, `[H, W, 3]` uint8, BGR.
        box: `[4]` left, top, right, bottom in image px, before any padding.
        center: `[2]` (x, y) in image px.
        scale: `[2]` (width, height) in image px.
        matrix: `[2, 3]` from image px to input px.
    """

    image: Image
    box: Floats
    center: Floats
    scale: Floats
    matrix: Floats


def check_image(image: Any) -> Image:
    """The image, if it is one.

    Raises:
        BadInputError: It is not a uint8 array `[H, W, 3]` with pixels in it.
    """
    if isinstance(image, np.ndarray):
        if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
            return image
        found = f"a {image.dtype} array of shape {list(image.shape)}"
    else:
        found = f"a {type(image).__name__}"
    raise BadInputError(
        "image", found, "a uint8 array [H, W, 3], BGR", "Read the file with cv2.imread."
    )
