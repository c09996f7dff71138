"""`calib_config` of a deploy config: which images the ranges of int8 are measured on.

MMDeploy's fields (`create_calib`, `calib_file`) name a cache of its own and change nothing here;
`images` and `count` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posedeploy.errors import BadInputError


@dataclass(frozen=True)
class CalibrationSettings:
    """Which images to calibrate on.

    Attributes:
        images: A folder of images; None for drawn figures.
        count: How many inputs at most; None for the default.
    """

    images: Path | None = None
    count: int | None = None


def calibration_settings(path: Path, raw: Mapping[str, Any]) -> CalibrationSettings:
    """Read `calib_config`.

    Args:
        path: The deploy config; a relative `images` is relative to its folder.
        raw: The whole config.

    Raises:
        BadInputError: A field is of the wrong type.
    """
    section = raw.get("calib_config") or {}
    images, count = section.get("images"), section.get("count")
    if images is not None and not isinstance(images, str):
        raise BadInputError(
            f"{path}: calib_config.images", repr(images), "the path of a folder of images",
            "Change the field, or remove it to calibrate on drawn figures.",
        )  # fmt: skip
    if count is not None and not (isinstance(count, int) and count > 0):
        raise BadInputError(
            f"{path}: calib_config.count", repr(count), "a number of inputs, 1 or more",
            "Change the field, or remove it.",
        )  # fmt: skip
    return CalibrationSettings(path.parent / images if images else None, count)
