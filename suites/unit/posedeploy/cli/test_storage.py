"""Full disks and folders that cannot be written to: one error, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from posedeploy.cli import main
from posedeploy.synthetic.figures import draw_figure

NOISE = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)  # 480 kB as PNG
HEADS = ("error:", "  found:", "  expected:", "  next:")


@pytest.fixture
def sdk(tiny_sdk: Callable[[str], Path]) -> Path:
    return tiny_sdk("rtmpose_t")


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """The exit code of a command, and the lines of its error."""
    monkeypatch.chdir(tmp_path)

    def command(*words: object) -> tuple[int, list[str]]:
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == len(HEADS), lines
        assert all(line.startswith(head) for line, head in zip(lines, HEADS, strict=True)), lines
        return int(caught.value.code or 0), [line.split(":", 1)[1].strip() for line in lines]

    return command


Run = Callable[..., tuple[int, list[str]]]


def test_a_drawing_that_does_not_fit_on_the_disk(run: Run, sdk: Path, small_disk: Path) -> None:
    cv2.imwrite("noise.png", NOISE)
    code, (subject, found, _, step) = run("infer", sdk, "noise.png", "--out", small_disk)
    assert (code, subject) == (3, str(small_disk / "noise_poses.png"))
    assert (found, step[:15]) == ("No space left on device", "Free some space")
    assert list(small_disk.iterdir()) == []


def test_a_video_that_does_not_fit_on_the_disk(run: Run, sdk: Path, small_disk: Path) -> None:
    writer = cv2.VideoWriter("noise.avi", cv2.VideoWriter.fourcc(*"MJPG"), 25, (400, 400))
    for _ in range(30):
        writer.write(NOISE)
    writer.release()
    code, (subject, *_) = run("infer", sdk, "noise.avi", "--out", small_disk)
    assert (code, Path(subject.removeprefix("video ")).name) == (3, "noise_poses.mp4")
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("infer", "{sdk}", "a.png"), ("configs", "new", "--backend=ncnn")]
)
def test_a_folder_for_output_that_is_read_only(
    run: Run, sdk: Path, read_only: Path, words: tuple[str, ...]
) -> None:
    cv2.imwrite("a.png", draw_figure(1, (96, 144))[0])
    words = tuple(word.format(sdk=sdk) for word in words)
    code, (subject, found, *_) = run(*words, "--out", read_only / "new")
    assert (code, subject) == (2, f"--out {read_only / 'new'}")
    assert "Read-only" in found or "Permission" in found


def test_a_cache_that_is_read_only(
    run: Run, read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite("a.png", draw_figure(1, (96, 144))[0])
    monkeypatch.delenv("POSEDEPLOY_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(read_only))
    config = "pose-detection_simcc_onnxruntime_static"
    words = ("convert", config, "simcc_mobilenetv2", "calibrated", "a.png", "--work-dir=work")
    code, (subject, _, _, step) = run(*words)
    assert (code, subject) == (2, str(read_only / "posedeploy"))
    assert step.startswith("Set POSEDEPLOY_CACHE to a folder that can be written to")
    assert not (tmp_path / "work").exists()
    code, (subject, _, _, step) = run("zoo", "fetch", "simcc_mobilenetv2")
    assert (code, step[:20]) == (2, "Set POSEDEPLOY_CACHE")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize(
    "words", [("--version",), ("configs", "list", "--json"), ("configs", "list"), ("--help",)]
)
def test_standard_output_that_is_full(words: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "posedeploy", *words], stdout=full, stderr=subprocess.PIPE,
            text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    lines = done.stderr.splitlines()
    assert (done.returncode, len(lines), lines[0]) == (3, 4, "error: the output")
