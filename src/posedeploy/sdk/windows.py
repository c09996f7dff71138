"""Windows with images, where there is a display; where there is none, why."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import UnavailableError
from posedeploy.sdk.images import read_image

DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY")  # of X11 and of Wayland


def why_no_windows(
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
    build: str | None = None,
) -> str:
    """Why no window can be opened here; '' where one can.

    OpenCV's Qt build aborts the process where there is no display, so this comes first.
    `build` is OpenCV's build information; None asks the OpenCV that is installed.
    """
    lines = (cv2.getBuildInformation() if build is None else build).splitlines()
    toolkits = [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("GUI:")]
    reasons = []
    if toolkits == ["NONE"]:
        reasons.append("an OpenCV that was built without windows (opencv-python-headless)")
    if platform == "linux" and not any(environment.get(name) for name in DISPLAY_VARIABLES):
        reasons.append(f"no display ({' and '.join(DISPLAY_VARIABLES)} are not set)")
    return " and ".join(reasons)


def check_windows(instead: str, subject: str = "--show", reason: str | None = None) -> None:
    """Raise an UnavailableError where no window can be opened.

    `subject` is the option that asks for windows, `instead` a sentence that says what to do, and
    `reason` why there are none; None asks the system.
    """
    if reason := why_no_windows() if reason is None else reason:
        expected = "a display, and an OpenCV with windows (opencv-python)"
        raise UnavailableError(subject, reason, expected, instead)


def show_image(title: str, image: NDArray[np.uint8], milliseconds: int = 0) -> bool:
    """Show an image `[H, W, 3]`, BGR, in the window of that title; False after Escape or 'q'.

    It waits so long for a key; 0 waits until one is pressed.
    """
    cv2.imshow(title, image)
    return (cv2.waitKey(milliseconds) & 0xFF) not in (27, ord("q"))


def show_files(paths: list[Path]) -> None:
    """Show image files, each in a window of its own, until a key is pressed."""
    for path in paths:
        cv2.imshow(path.name, read_image(path))
    cv2.waitKey(0)
    cv2.destroyAllWindows()
