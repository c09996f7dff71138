"""The mistakes that people are most likely to make, and what is printed to each.

A row a mistake; what it prints is in `snapshots/`, a file each, to be read as a person would read
it.  POSEDEPLOY_UPDATE_SNAPSHOTS=1 writes the files anew, and fails, so that they are looked at.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest

from fixtures.commands import enter
from fixtures.snapshots import compare, without_places
from posedeploy.cli import main
from posedeploy.runtime import Availability, Code, backend_row
from posedeploy.runtime.onnxruntime import OnnxRuntime
from posedeploy.runtime.pplnn import Pplnn
from posedeploy.runtime.tensorrt import TensorRT
from posedeploy.synthetic.figures import draw_figure

SNAPSHOTS = Path(__file__).parent / "snapshots"
SIMCC, HEATMAP = "pose-detection_simcc_onnxruntime_static", "pose-detection_onnxruntime_static"
CONVERT = "convert {0} {1} {2} photo.png --work-dir out"


@dataclass(frozen=True)
class Mistake:
    """A command line, and what the machine must lack for it to be a mistake."""

    words: str
    patch: Callable[[pytest.MonkeyPatch], None] = lambda _: None


def converting(
    deploy_cfg: str = SIMCC, model: str = "model.py", checkpoint: str = "model.pth"
) -> str:
    return CONVERT.format(deploy_cfg, model, checkpoint)


def no_driver(patch: pytest.MonkeyPatch) -> None:
    found = Availability(Code.NO_DRIVER, "libcuda.so.1 is not there: no NVIDIA driver")
    patch.setattr(TensorRT, "probe", lambda _: found)


def no_engine(patch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise RuntimeError("libcuda.so.1 is not there: no NVIDIA driver")

    no_driver(patch)
    patch.setattr(TensorRT, "load", load)


def no_onnxruntime(patch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise ImportError("No module named 'onnxruntime'", name="onnxruntime")

    patch.setattr(OnnxRuntime, "load", load)


def no_mmengine(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(sys.modules, "mmengine.config", None)


def no_display(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cv2, "getBuildInformation", lambda: "  GUI:      QT5\n")
    patch.setattr("posedeploy.sdk.windows.sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        patch.delenv(name, raising=False)


def no_pyppl(patch: pytest.MonkeyPatch) -> None:
    def load(*_: object) -> None:
        raise ImportError("No module named 'pyppl'", name="pyppl")

    patch.setattr(Pplnn, "load", load)


TENSORRT = "pose-detection_simcc_tensorrt_static-256x192"

# ---- modify this table to add a mistake ----------------------------------------------------
# fmt: off
MISTAKES: Mapping[str, Mistake] = {
    "backend-mistyped":           Mistake("configs new --backend openvion --shape 256x192"),
    "backend-not-installed":      Mistake("infer sdk photo.png", no_onnxruntime),
    "backend-on-another-device":  Mistake(
        f"{converting('pose-detection_simcc_openvino_static-256x192')} --device cuda:0"),
    "backend-that-pip-has-not":   Mistake("infer pplnn photo.png", no_pyppl),
    "backend-for-gpu-missing":    Mistake("infer tensorrt photo.png", no_engine),
    "boxes-as-width-and-height":  Mistake("infer sdk photo.png --bbox 300,200,100,150"),
    "boxes-beside-the-image":   Mistake("infer sdk photo.png --bbox 500,500,600,600"),
    "boxes-with-spaces":          Mistake("infer sdk photo.png --bbox 10 20 100 150"),
    "boxes-without-a-number":     Mistake("infer sdk photo.png --bbox nan,0,5,5"),
    "boxes-for-a-bottom-up":      Mistake("infer bottom_up photo.png --bbox 10,20,100,150"),
    "checkpoint-a-folder":        Mistake(converting(checkpoint="training")),
    "checkpoint-a-web-page":      Mistake(converting(checkpoint="page.pth")),
    "checkpoint-kind-mistyped":   Mistake(converting(checkpoint="fited")),
    "checkpoint-cut-short":       Mistake(converting(checkpoint="short.pth")),
    "checkpoint-of-another-head": Mistake(converting(checkpoint="other.pth")),
    "checkpoint-offline":         Mistake("zoo fetch rtmpose_s --folder cache --offline"),
    "config-needs-mmengine":      Mistake(converting(), no_mmengine),
    "config-of-another-codebase": Mistake(converting("detection.py")),
    "config-of-mmpose-0":         Mistake(converting(model="old.py")),
    "config-with-a-syntax-error": Mistake(converting("broken.py")),
    "config-without-its-base":    Mistake(converting("lonely.py")),
    "configs-swapped-by-name":    Mistake(converting("rtmpose_t", SIMCC)),
    "configs-swapped-the-second": Mistake(converting(SIMCC, HEATMAP)),
    "configs-swapped":            Mistake(converting("model.py", "deploy.py")),
    "device-without-a-number":    Mistake(f"{converting()} --device cuda:zero"),
    "display-missing":            Mistake("infer sdk photo.png --show", no_display),
    "exporter-mistyped":          Mistake(f"{converting()} --exporter torch_script"),
    "folder-of-a-training":       Mistake("infer training photo.png"),
    "folder-that-is-a-file":      Mistake("infer model.pth photo.png"),
    "head-heatmap-for-simcc":     Mistake(converting(HEATMAP)),
    "head-simcc-for-heatmap":     Mistake(converting(model="hrnet_w32")),
    "name-of-a-config-mistyped":  Mistake(converting("pose-detection_simcc_onnxruntme_static")),
    "name-of-no-model":           Mistake("zoo list nobody"),
    "name-of-a-model-mistyped":   Mistake(converting(model="rtmpose-s")),
    "out-of-a-config-is-a-file":  Mistake(
        "configs new --backend openvino --shape 256x192 --out model.pth"),
    "out-that-is-a-file":         Mistake("infer sdk photo.png --out model.pth"),
    "pattern-without-a-match":    Mistake("infer sdk photos/*.jpg"),
    "image-missing":            Mistake("infer sdk phoot.png"),
    "image-that-is-a-folder":   Mistake(
        converting().replace("photo.png", "photos")),
    "image-that-is-empty":      Mistake("infer sdk empty.jpg"),
    "image-to-compare-missing": Mistake(
        converting().replace("photo.png", "phto.png")),
    "image-that-is-none":       Mistake("infer sdk notes.txt"),
    "precision-without-a-recipe": Mistake(
        "configs new --backend torchscript --precision int8 --shape 256x192"),
    "shape-no-multiple-of-8":     Mistake("configs new --backend openvino --shape 250x190"),
    "shape-of-another-model":     Mistake(
        converting("pose-detection_simcc_openvino_static-256x192")),
    "tensorrt-without-gpu":       Mistake(converting(TENSORRT, "rtmpose_t"), no_driver),
    "video-truncated":            Mistake("infer sdk half.avi"),
    "video-without-an-index":     Mistake("infer sdk cut.mp4"),
    "video-without-codec":        Mistake("infer sdk noise.avi"),
    "work-dir-with-other-things": Mistake(
        converting().replace("--work-dir out", "--work-dir full")),
}
# fmt: on
# --------------------------------------------------------------------------------------------

MMDET = """
onnx_config = dict(type='onnx', save_file='end2end.onnx', input_names=['input'],
                   output_names=['dets', 'labels'], input_shape=None)
codebase_config = dict(type='mmdet', task='ObjectDetection')
backend_config = dict(type='onnxruntime')
"""


def write_video(path: Path, codec: str, frames: int = 40) -> bytes:
    size = (96, 64)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, size)
    for index in range(frames):
        writer.write(draw_figure(index, size)[0])
    writer.release()
    return path.read_bytes()


@pytest.fixture(scope="module")
def desk(tiny_model: Any, tiny_sdk: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the rows name."""
    folder = tmp_path_factory.mktemp("desk")
    tiny, other = tiny_model("rtmpose_t"), tiny_model("yoloxpose_tiny")
    (folder / "sdk").symlink_to(tiny_sdk("rtmpose_t"))
    (folder / "bottom_up").symlink_to(tiny_sdk("yoloxpose_tiny"))
    shutil.copy(tiny.config, folder / "model.py")
    shutil.copy(tiny.checkpoint, folder / "model.pth")
    shutil.copy(other.checkpoint, folder / "other.pth")
    (folder / "deploy.py").write_text(MMDET.replace("mmdet", "mmpose"))
    (folder / "detection.py").write_text(MMDET)
    (folder / "lonely.py").write_text("_base_ = ['./_base_/simcc.py']\n")
    (folder / "old.py").write_text(
        "model = dict(type='TopDown', backbone=dict(type='HRNet'), keypoint_head=dict(type='T'))\n"
    )
    (folder / "broken.py").write_text("backend_config = dict(type='onnxruntime'\nx = {\n")
    (folder / "page.pth").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "empty.jpg").touch()
    for backend in ("pplnn", "tensorrt"):
        shutil.copytree(folder / "sdk", folder / backend)
        main = backend_row(backend).main_file
        for path in (folder / backend).glob("*.json"):
            text = path.read_text().replace("onnxruntime", backend)
            path.write_text(text.replace("end2end.onnx", main))
        (folder / backend / "end2end.onnx").rename(folder / backend / main)
    (folder / "short.pth").write_bytes(tiny.checkpoint.read_bytes()[:4000])
    (folder / "notes.txt").write_text("no image")
    for name, inside in (
        ("training", "epoch_10.pth"),
        ("full", "thesis.tex"),
        ("photos", "a.png"),
    ):
        (folder / name).mkdir()
        (folder / name / inside).write_text("mine")
    cv2.imwrite(str(folder / "photo.png"), draw_figure(3, (120, 90))[0])
    film = write_video(folder / "half.avi", "MJPG")
    (folder / "half.avi").write_bytes(film[: len(film) // 2])
    (folder / "cut.mp4").write_bytes(write_video(folder / "cut.mp4", "mp4v")[:4000])
    (folder / "noise.avi").write_bytes(film.replace(b"MJPG", b"ZZZZ")[:5000])
    return folder


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_printed(
    name: str,
    desk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enter(tmp_path, desk, monkeypatch)
    before = {*tmp_path.iterdir(), tmp_path / "cache"}
    mistake = MISTAKES[name]
    mistake.patch(monkeypatch)
    with pytest.raises(SystemExit) as caught:
        main(mistake.words.split())
    out, err = capsys.readouterr()
    printed = f"$ posedeploy {mistake.words}\n{out}{err}[exit code {caught.value.code}]\n"
    compare(SNAPSHOTS / f"{name}.txt", without_places(printed, desk, tmp_path))
    assert "Traceback" not in printed
    new = {path.name for path in set(tmp_path.iterdir()) - before}
    assert new <= ({"poses"} if "infer" in mistake.words else set())


def test_every_snapshot_belongs_to_a_mistake() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == set(MISTAKES)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_snapshot_has_the_next_step_and_the_right_code(name: str) -> None:
    printed = (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")
    code = printed.rstrip().removesuffix("]").rpartition(" ")[2]
    if name == "video-truncated":  # a result, though a bad one
        assert code == "1"
        assert "frames that the file promises could be read" in printed
        return
    unavailable = {"backend-for-gpu-missing", "backend-not-installed", "backend-that-pip-has-not",
                   "checkpoint-offline", "config-needs-mmengine",
                   "display-missing", "tensorrt-without-gpu"}  # fmt: skip
    assert code == ("3" if name in unavailable else "2")
    for part in ("error: ", "  found: ", "  expected: ", "  next: "):
        assert printed.count(part) == 1
