"""What runs in an environment for running alone: no torch, no mmpose, nothing of the extras."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from posedeploy.synthetic.figures import draw_figure

PROGRAM = '''
import sys

ABSENT = {"addict", "coremltools", "filelock", "jinja2", "jsonschema", "matplotlib", "mmcv",
          "mmengine", "mmpose", "ncnn", "nncf", "onnx", "onnx_ir", "onnxscript", "openvino",
          "pnnx", "pytest", "scipy", "tensorrt", "torch", "yaml"}

class Hiding:
    """The import system's finder of installed packages, blind to some."""

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in ABSENT
        return None if hidden else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from posedeploy.cli import main
sys.argv[0] = "posedeploy"
main()
'''


@pytest.fixture
def clean(tmp_path: Path, tiny_sdk: Callable[[str], Path]) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "sdk").symlink_to(tiny_sdk("rtmpose_t"))
    cv2.imwrite(str(tmp_path / "photo.png"), draw_figure(3, (120, 90))[0])

    def run(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    return run


def test_keypoints_are_found_and_drawn(clean: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = clean("infer", "sdk", "photo.png")
    assert (code, err) == (0, "")
    assert "17 of 17 keypoints" in out


@pytest.mark.parametrize(
    "words",
    [
        ("profile", "sdk", "--calls=2", "--warm-up=0"),
        ("configs", "list"),
        ("configs", "show", "pose-detection_simcc_onnxruntime_static"),
        ("configs", "new", "--backend", "openvino", "--shape", "256x192"),
        ("zoo", "list"),
        ("zoo", "show", "rtmpose_t"),
        ("validate", "sdk"),
        ("--help",),
    ],
)
def test_what_needs_no_more_works(
    clean: Callable[..., tuple[int, str, str]], words: tuple[str, ...]
) -> None:
    code, out, err = clean(*words)
    assert (code, err) == (0, "")
    assert out


def test_backends_report_what_is_missing(clean: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = clean("backends", "--json")
    assert code == 0
    found = {row["name"]: row for row in json.loads(out)["backends"]}
    assert found["onnxruntime"]["available"]
    assert (found["openvino"]["code"], found["ncnn"]["code"]) == ("not-installed", "not-installed")


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "pose-detection_simcc_onnxruntime_static", "rtmpose_t", "calibrated",
         "photo.png"),
        ("zoo", "fetch", "rtmpose_t"),
        ("test", "-m", "onnxruntime"),
        ("report", "build", "results.json"),
    ],
)  # fmt: skip
def test_a_command_that_needs_more_names_it(
    clean: Callable[..., tuple[int, str, str]], words: tuple[str, ...]
) -> None:
    code, _, err = clean(*words)
    assert code == 3
    assert "no package" in err or "no such package" in err
    assert "pip install" in err or "Run: posedeploy setup" in err
