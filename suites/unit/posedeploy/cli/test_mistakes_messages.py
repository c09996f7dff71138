"""Wrong turns of the first hour, and what is printed to each: `test_mistakes` has the usual ones.

A row a command line; what it prints is in `snapshots_messages/`, a file each.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from fixtures.commands import enter
from fixtures.servers import Server, serving
from fixtures.snapshots import compare, without_places
from posedeploy.cli import main
from posedeploy.config.naming import grammar
from posedeploy.synthetic.figures import draw_figure

SNAPSHOTS = Path(__file__).parent / "snapshots_messages"
SIMCC, HEATMAP = "pose-detection_simcc_onnxruntime_static", "pose-detection_onnxruntime_static"
OTHER_SHAPE = "pose-detection_simcc_openvino_static-256x192"


def converting(
    deploy_cfg: str = SIMCC,
    model: str = "model.py",
    checkpoint: str = "model.pth",
    image: str = "photo.png",
) -> str:
    return f"convert {deploy_cfg} {model} {checkpoint} {image} --work-dir out"


# ---- modify this table to add a wrong turn -------------------------------------------------
# name -> command line, exit code; SERVER stands for a server on this machine
# fmt: off
ROWS: dict[str, tuple[str, int]] = {
    "backend-abbreviated":          ("configs new --backend onnx", 2),
    "backend-as-deploy-config":     (converting("onnxruntime"), 2),
    "backend-of-mmdeploy":          (
        converting("configs/mmpose/pose-detection_simcc_rknn-fp16_static-256x192.py"), 2),
    "boxes-as-parts-of-the-sides":  ("infer sdk photo.png --bbox 0.1,0.1,0.5,0.5", 2),
    "boxes-in-brackets":            ("infer sdk photo.png --bbox [10,20,30,40]", 2),
    "boxes-of-zeros":               ("infer sdk photo.png --bbox 0,0,0,0", 2),
    "boxes-beside-a-detector":      ("infer sdk photo.png --bbox 1,2,3,4 --detector bottom_up", 2),
    "boxes-file-of-others":         ("infer sdk photo.png mixed/photo.png --boxes others.json", 2),
    "boxes-file-that-is-none":      ("infer sdk photo.png --boxes notes.mp4", 2),
    "boxes-with-swapped-corners":   ("infer sdk photo.png --bbox 80,70,20,10", 2),
    "camera-by-its-device":         ("infer sdk /dev/video97", 3),
    "camera-by-its-number":         ("infer sdk 97", 3),
    "camera-to-compare-on":         (converting(image="0"), 2),
    "checkpoint-and-image-swapped": (converting(checkpoint="photo.png", image="model.pth"), 2),
    "checkpoint-folder":            (converting(checkpoint="training"), 2),
    "checkpoint-of-a-store":        (converting(checkpoint="s3://bucket/model.pth"), 2),
    "checkpoint-of-a-distillation-of-either-stage": (converting(checkpoint="either.pth"), 2),
    "checkpoint-converted-folder":  (converting(checkpoint="sdk"), 2),
    "checkpoint-torchscript":       (converting(checkpoint="end2end.pt"), 2),
    "checkpoint-onnx":              (converting(checkpoint="model.onnx"), 2),
    "checkpoint-url":               (converting(checkpoint="SERVER/tiny.pth"), 0),
    "checkpoint-url-cut-short":     (converting(checkpoint="SERVER/cut.pth"), 3),
    "checkpoint-url-of-a-page":     (converting(checkpoint="SERVER/page.pth"), 2),
    "checkpoint-url-to-nothing":    (converting(checkpoint="SERVER/none.pth"), 2),
    "checkpoint-url-wrong-hash":    (converting(checkpoint="SERVER/model-0123abcd.pth"), 2),
    "config-folder":                (converting("configs"), 2),
    "config-for-an-unlisted-shape-mistyped": (
        converting("pose-detection_simcc_openvno_static-384x288"), 2),
    "config-model-folder":          (converting(model="models"), 2),
    "config-of-a-distillation":     (converting(model="models/distiller.py"), 2),
    "config-of-a-family":           (converting("pose-detection_rtmpose_onnxruntime_static"), 2),
    "config-of-fp32":               (converting("pose-detection_simcc_ort-fp32_dynamic"), 2),
    "config-pth":                   (converting("model.pth", "model.py", "photo.png"), 2),
    "config-shipped-elsewhere":     (
        converting(model="../mmpose/projects/rtmpose/rtmpose-m_8xb256-420e_coco-256x192.py"), 2),
    "config-shipped-mistyped":      (
        converting(model="rtmpose-m_8xb256-420e_coco-384x288.py"), 2),
    "config-shows-a-model":         ("configs show rtmpose_t", 2),
    "config-with-own-output-names": (converting("own_names.py"), 2),
    "config-with-own-shape":        (converting("own_shape.py"), 2),
    "detector-every-without-track": ("infer sdk film.mp4 --det-every 5", 2),
    "detector-for-a-bottom-up":     ("infer bottom_up photo.png --detector bottom_up", 2),
    "detector-missing":             ("infer sdk photo.png --detector bottom_pu", 2),
    "detector-that-is-a-pose-model": ("infer sdk photo.png --detector sdk", 2),
    "device-gpu":                   (f"{converting()} --device gpu:0", 2),
    "files-left-out":               ("infer sdk mixed --json", 0),
    "gif-and-avif-in-a-folder":     ("infer sdk images", 0),
    "head-by-its-family":           ("configs new --backend openvino --head rtmpose", 2),
    "head-of-another-kind":         (converting(HEATMAP), 2),
    "image-an-mp4":                 (converting(image="film.mp4"), 2),
    "image-float-tiff":             (converting(image="float.tiff"), 2),
    "image-heic":                   ("infer sdk phone.jpg", 2),
    "image-url":                    ("infer sdk https://example.org/a.jpg", 2),
    "infer-a-model-of-the-zoo":     ("infer rtmpose_t photo.png", 2),
    "infer-mistyped-folder":        ("infer sdl photo.png", 2),
    "infer-swapped":                ("infer photo.png sdk", 2),
    "mmdeploys-command":            (
        converting(f"../mmdeploy/configs/mmpose/{SIMCC}.py") + " --device cpu --log-level WARN "
        "--dump-info --uri 192.168.1.1:60000 --ip 192.168.1.1 --port 60000", 0),
    "mmdeploys-quant-for-fp32":     (
        f"{converting()} --quant --quant-image-dir images --calib-dataset-cfg coco.py "
        "--test-img photo.png", 0),
    "mmdeploys-quant-for-int8":     (
        converting("configs/mmpose/pose-detection_ncnn-int8_static-256x256.py", "hourglass52")
        + " --quant --quant-image-dir nowhere --calib-dataset-cfg coco.py", 2),
    "live-with-files":              ("infer sdk film.mp4 --live", 2),
    "model-name-in-other-case":     (converting(model="RTMPose_t"), 2),
    "order-of-another-name":        ("infer sdk photo.png --keypoint-order coco", 2),
    "shape-of-another-model":       (
        converting(f"configs/mmpose/{OTHER_SHAPE}.py") + " --device cpu --dump-info", 2),
    "shape-with-sides-swapped":     (
        converting("pose-detection_simcc_openvino_static-64x96"), 2),
    "stream":                       ("infer sdk rtsp://me:secret@127.0.0.1:1/1", 3),
    "stream-to-compare-on":         (converting(image="rtsp://camera/1"), 2),
    "track-images":                 ("infer bottom_up photo.png mixed --track", 2),
    "track-without-boxes":          ("infer sdk film.mp4 --track", 2),
    "video-flv-to-compare-on":      (converting(image="film.flv"), 2),
    "video-in-flv":                 ("infer sdk film.flv", 0),
    "video-named-jpg":              ("infer sdk film.jpg", 0),
    "video-named-otherwise":        ("infer sdk film.dav", 0),
    "video-that-is-empty":          ("infer sdk empty.mp4", 2),
    "video-that-is-text":           ("infer sdk notes.mp4", 2),
}
# fmt: on
# --------------------------------------------------------------------------------------------

CUSTOM = """
onnx_config = dict(type='onnx', save_file='end2end.onnx', input_names=['input'],
                   output_names=%r, input_shape=%r)
codebase_config = dict(type='mmpose', task='PoseDetection')
backend_config = dict(type='onnxruntime')
"""


def film(path: Path, codec: str) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (96, 64))
    for index in range(3):
        writer.write(draw_figure(index, (96, 64))[0])
    writer.release()
    return path


def write_images(folder: Path) -> None:
    photo = draw_figure(3, (120, 90))[0]
    for name in ("photo.png", "images/a.gif", "images/b.avif", "mixed/photo.png"):
        cv2.imwrite(str(folder / name), photo)
    frames = [Image.fromarray(draw_figure(i, (96, 64))[0]) for i in range(3)]
    frames[0].save(folder / "images" / "c.gif", save_all=True, append_images=frames[1:])
    cv2.imwrite(str(folder / "float.tiff"), photo.astype(np.float32) / 255)
    (folder / "phone.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(500))
    (folder / "mixed" / "labels.json").write_text("{}")
    (folder / "mixed" / ".hidden").write_text("")
    (folder / "mixed" / "more").mkdir()
    film(folder / "film.mp4", "mp4v")
    shutil.copy(film(folder / "film.flv", "FLV1"), folder / "film.jpg")
    shutil.copy(film(folder / "film.avi", "MJPG"), folder / "film.dav")
    (folder / "empty.mp4").touch()
    (folder / "notes.mp4").write_text("no video")
    box = {"category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}
    others = [{"image_id": i, **box} for i in (7, 9)]
    (folder / "others.json").write_text(json.dumps(others))


def write_models(folder: Path, tiny: Any) -> None:
    for name, source in (("model.py", tiny.config), ("model.pth", tiny.checkpoint),
                         ("training/epoch_10.pth", tiny.checkpoint)):  # fmt: skip
        shutil.copy(source, folder / name)
    (folder / "model.onnx").write_bytes(b"\x08\x0a")
    (folder / "own_names.py").write_text(CUSTOM % (["x", "y"], None))
    (folder / "own_shape.py").write_text(CUSTOM % (["simcc_x", "simcc_y"], [192, 256]))
    for name in ("configs/mine.py", "models/td.py"):
        (folder / name).write_text("")
    distiller = "dict(type='DWPoseDistiller', student_cfg='configs/student.py')"
    (folder / "models/distiller.py").write_text(f"model = {distiller}")
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), folder / "end2end.pt")
    weights = torch.load(tiny.checkpoint)["state_dict"]
    roles = ("student", "teacher")
    both = {f"{role}.{key}": value for role in roles for key, value in weights.items()}
    torch.save({"state_dict": both}, folder / "either.pth")


@pytest.fixture(scope="module")
def desk(tiny_model: Any, tiny_sdk: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything the rows name."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("configs", "mixed", "models", "images", "training"):
        (folder / name).mkdir()
    (folder / "sdk").symlink_to(tiny_sdk("rtmpose_t"))
    (folder / "bottom_up").symlink_to(tiny_sdk("yoloxpose_tiny"))
    write_images(folder)
    write_models(folder, tiny_model("rtmpose_t"))
    return folder


@pytest.fixture(scope="module")
def servers(tiny_model: Any) -> Iterator[dict[str, Server]]:
    """A server for each file that the rows ask one for."""
    with (
        serving() as cut, serving() as page, serving() as none, serving() as other,
        serving() as tiny,
    ):  # fmt: skip
        tiny.content = tiny_model("rtmpose_t").checkpoint.read_bytes()
        cut.content, cut.stop_after = b"PK\x03\x04" + bytes(996), 100
        page.content = b"<!DOCTYPE html><html>Sign in</html>"
        none.status = 404
        yield {
            "cut.pth": cut, "page.pth": page, "none.pth": none, "model-0123abcd.pth": other,
            "tiny.pth": tiny,
        }  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_what_is_printed(
    name: str,
    desk: Path,
    servers: dict[str, Server],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enter(tmp_path, desk, monkeypatch)
    monkeypatch.setenv("POSEDEPLOY_TRUST_CONFIGS", "1")
    row, code = ROWS[name]
    words, host = row, ""
    for file, server in servers.items():
        if f"SERVER/{file}" in row:
            host = server.url.rpartition("/")[0]
            words = row.replace("SERVER", host)
    try:
        main(words.split())
        ended: object = 0
    except SystemExit as caught:
        ended = caught.code or 0
    out, err = capsys.readouterr()
    printed = f"$ posedeploy {words}\n{err}{out}[exit code {ended}]\n"
    printed = without_places(printed.replace(host or "SERVER", "SERVER"), desk, tmp_path)
    assert ended == code
    compare(SNAPSHOTS / f"{name}.txt", without_measured(printed))


def without_measured(printed: str) -> str:
    """The text without what the clock, another library or another backend may change."""
    printed = printed.replace(grammar(), "GRAMMAR")
    printed = re.sub(r"^ +\d+\.\d s  ", "     s  ", printed, flags=re.MULTILINE)
    printed = re.sub(r"[\d,]+ bytes", "N bytes", printed)
    printed = re.sub(r"\d+ of \d+ keypoints with a score from 0\.3[^\n]*?( ->|$)",
                     r"N of N keypoints\1", printed, flags=re.MULTILINE)  # fmt: skip
    printed = re.sub(r'"people": \[.*?\], "written"', '"people": […], "written"', printed)
    printed = re.sub(r"(median|percentile|at most) \S+ px(?=,| apart)", r"\1 M px", printed)
    printed = re.sub(r"\((there is none|those) here[^)]*\)", "(CAMERAS)", printed)
    return re.sub(r"checkpoints/[0-9a-f]{16}/", "checkpoints/HASH/", printed)


def test_every_snapshot_belongs_to_a_row() -> None:
    assert {path.stem for path in SNAPSHOTS.iterdir()} == set(ROWS)


@pytest.mark.parametrize("name", [name for name, (_, code) in ROWS.items() if code])
def test_an_error_has_its_four_parts(name: str) -> None:
    printed = (SNAPSHOTS / f"{name}.txt").read_text(encoding="utf-8")
    for part in ("error: ", "  found: ", "  expected: ", "  next: "):
        assert printed.count(part) == 1
    assert "Traceback" not in printed


def test_the_command_that_is_printed_runs(
    desk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The shape's refusal names a deploy config, with which the command ends well."""
    enter(tmp_path, desk, monkeypatch, columns=500)
    with pytest.raises(SystemExit):
        main(ROWS["shape-of-another-model"][0].split())
    advice = capsys.readouterr().err.rpartition("posedeploy convert ")[2]
    assert advice.startswith("pose-detection_simcc_openvino_static-96x64 ")
    with pytest.raises(SystemExit) as ended:
        main(["convert", *advice.split()])
    assert not ended.value.code
    assert "same keypoints" in capsys.readouterr().out
