"""Environments that warp images differently are told apart, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from poseconform.subject import warping
from poseconform.subject.warping import Warp, comparison, own_warp, warp_of

# The image of `own_warp` by opencv-python-headless 4.8.1.78 and 4.11.0.86, and by 5.0.0.93:
# 30 % of the values differ, by up to 5 gray levels.
MEASURED = {"4": "8cfdc3f81834", "5": "9cae436fb580"}
OTHER = """
import cv2
_warp, cv2.__version__ = cv2.warpAffine, "4.8.1"
cv2.warpAffine = lambda *args, **words: _warp(*args, **words) ^ 1
exec(open({file!r}).read())
"""


def test_the_warp_is_that_of_the_version_that_it_was_measured_with() -> None:
    found = own_warp()
    assert found.sha256 == MEASURED[found.opencv.partition(".")[0]]
    assert Warp("4.8.1", MEASURED["4"]).alike(Warp("4.11.0", MEASURED["4"]))
    assert not Warp("4.11.0", MEASURED["4"]).alike(Warp("5.0.0", MEASURED["5"]))


def test_another_interpreter_is_asked_with_numpy_and_opencv_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # for this one's Python
    (tmp_path / "cv2.py").write_text("raise ImportError")
    assert warp_of([sys.executable]) == own_warp()


def test_a_patch_of_the_warp_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", OTHER.format(file=warping.__file__).replace("__main__", "")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    other = Warp(**json.loads(done.stdout))
    assert not own_warp().alike(other)
    said = comparison(own_warp(), other, "X")
    assert said.startswith("network inputs only: OpenCV 4.8.1 of X warps unlike OpenCV")
    assert comparison(other, other, "X").startswith("images and keypoints: X warps like")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["/bin/true"], "no message"),
        (["/nowhere/python"], "No such file"),
        ([sys.executable, "-c", "raise ImportError('no cv2')"], "ImportError: no cv2"),
    ],
)
def test_an_interpreter_without_opencv_has_no_warp(words: list[str], reason: str) -> None:
    with pytest.raises(LookupError, match=reason):
        warp_of(words)
