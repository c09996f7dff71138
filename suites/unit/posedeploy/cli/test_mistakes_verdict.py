"""Conversions that prove nothing, and input that is damaged: never "same keypoints"."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from fixtures.commands import Done
from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.apis.deploying import check_written
from posedeploy.cli import main
from posedeploy.errors import ConversionError

RTMPOSE = "pose-detection_simcc_onnxruntime_static"
DETECTOR = "pose-detection_yolox-pose_onnxruntime_static"
INT8 = "pose-detection_simcc_onnxruntime-int8_static"

Change = Callable[[str, torch.Tensor], torch.Tensor]


def one_nan(key: str, weights: torch.Tensor) -> torch.Tensor:
    return weights * torch.nan if key == "backbone.stem.0.bn.weight" else weights


def zero(_key: str, weights: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(weights)


def nobody(key: str, weights: torch.Tensor) -> torch.Tensor:
    return weights * 0 - 50 if "out_cls" in key and key.endswith("bias") else weights


def as_they_are(_key: str, weights: torch.Tensor) -> torch.Tensor:
    return weights


@dataclass(frozen=True)
class Row:
    """A conversion: its weights, the exit code, what is printed, whether a folder is written."""

    deploy_cfg: str
    model: str
    change: Change
    code: int
    printed: tuple[str, ...]
    written: bool
    config: str = ""  # of the model, on top of the tiny one
    image: str = "photo.png"


# ---- modify this table to add a conversion that proves nothing -------------------------------
# fmt: off
ROWS = {
    "one NaN weight": Row(
        RTMPOSE, "rtmpose_t", one_nan, 2,
        ("error: checkpoint model.pth", "values of backbone.stem.0.bn.weight are not finite"),
        False),
    "one NaN weight, int8": Row(
        INT8, "rtmpose_t", one_nan, 2,
        ("values of backbone.stem.0.bn.weight are not finite",), False),
    "all weights zero": Row(
        RTMPOSE, "rtmpose_t", zero, 1,
        ("meaningless output: simcc_x: constant (0)", "simcc_y: constant (0)"), True),
    "nobody is found": Row(
        DETECTOR, "yoloxpose_tiny", nobody, 4,
        ("nothing to compare: photo.png: nobody, by onnxruntime and by PyTorch",
         "expected: at least one person"), True),
    "fewer outputs than names": Row(
        RTMPOSE, "rtmpose_t", as_they_are, 2,
        ("error: model.py: model.head.out_channels", "a head of 6 keypoints"), False,
        config="model = dict(head=dict(out_channels=6))\n"),
    "half a JPEG": Row(
        RTMPOSE, "rtmpose_t", as_they_are, 2,
        ("error: image half.jpg", "a JPEG file of", "ends before the image does"), False,
        image="half.jpg"),
}
# fmt: on
# ----------------------------------------------------------------------------------------------


@pytest.fixture
def command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Run a command line in a folder with images."""
    image = drawn(3, (120, 90)).image
    cv2.imwrite(str(tmp_path / "photo.png"), image)
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")

    def run(*words: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            main(list(words))
        printed, code = capsys.readouterr(), caught.value.code
        assert isinstance(code, int) or code is None
        return Done(code or 0, printed.out, printed.err)

    return run


@pytest.mark.parametrize("case", ROWS)
def test_what_proves_nothing_is_no_success(
    command: Callable[..., Done],
    tiny_model: Callable[[str], TinyModel],
    tmp_path: Path,
    case: str,
) -> None:
    row = ROWS[case]
    tiny = tiny_model(row.model)
    content = torch.load(tiny.checkpoint, weights_only=False)
    state = {key: row.change(key, value) for key, value in content["state_dict"].items()}
    if row.config:
        (tmp_path / "model.py").write_text(f"_base_ = {str(tiny.config)!r}\n{row.config}")
        state = {key: value[:6] if "final_layer" in key else value for key, value in state.items()}
    torch.save(content | {"state_dict": state}, tmp_path / "model.pth")
    config = "model.py" if row.config else str(tiny.config)
    done = command("convert", row.deploy_cfg, config, "model.pth", row.image, "--work-dir", "out")
    assert done.code == row.code, done
    for part in row.printed:
        assert part in done.out + done.err
    assert "same keypoints" not in done.out
    assert "Traceback" not in done.err
    assert (tmp_path / "out" / "deploy.json").is_file() == row.written
    assert not list(tmp_path.glob("out/output_*.jpg")) or row.code == 4


def damage(folder: Path) -> None:
    """Put one NaN into each float tensor of a folder's graph, as damaged weights would have it."""
    path = folder / "end2end.onnx"
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor).copy()
        if values.dtype == np.float32 and values.size > 1:
            values.flat[0] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(model, path)
    detail: dict[str, Any] = json.loads((folder / "detail.json").read_text())
    del detail["posedeploy"]["files"]  # a folder of before there were checksums
    (folder / "detail.json").write_text(json.dumps(detail))


def test_a_folder_with_errors_is_not_put_in_place(
    tiny_sdk: Callable[[str], Path], tmp_path: Path
) -> None:
    """What `posedeploy validate` finds is found before the folder is."""
    shutil.copytree(tiny_sdk("rtmpose_t"), tmp_path / "staging")
    check_written(tmp_path / "staging", tmp_path / "out")
    detail: dict[str, Any] = json.loads((tmp_path / "staging" / "detail.json").read_text())
    del detail["posedeploy"]["dataset_meta"]["keypoint_names"][5:]
    (tmp_path / "staging" / "detail.json").write_text(json.dumps(detail))
    with pytest.raises(ConversionError, match="out, which was not written") as caught:
        check_written(tmp_path / "staging", tmp_path / "out")
    assert "keypoint" in caught.value.found


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_joints_that_are_no_numbers_are_not_printed(
    command: Callable[..., Done], tiny_sdk: Callable[[str], Path], tmp_path: Path,
    options: list[str],
) -> None:  # fmt: skip
    shutil.copytree(tiny_sdk("rtmpose_t"), tmp_path / "sdk")
    assert command("infer", "sdk", "photo.png", *options).code == 0
    damage(tmp_path / "sdk")
    done = command("infer", "sdk", "photo.png", *options)
    assert done.code == 2
    assert "values that are not finite" in done.err
    assert "keypoints" not in done.out.partition('"kind": "image"')[2]
    assert "person" not in done.out


def test_half_a_jpeg_is_refused_by_infer(
    command: Callable[..., Done], tiny_sdk: Callable[[str], Path]
) -> None:
    done = command("infer", str(tiny_sdk("rtmpose_t")), "half.jpg", "--json")
    assert done.code == 2
    assert "ends before the image does" in done.err


@pytest.mark.parametrize("calibrated_on", ["figures", "flat images"])
def test_int8_with_calibrated_weights_is_judged_by_its_layers(
    command: Callable[..., Done],
    tiny_model: Callable[[str], TinyModel],
    tmp_path: Path,
    calibrated_on: str,
) -> None:
    flat = calibrated_on == "flat images"
    (tmp_path / "flat").mkdir()
    cv2.imwrite(str(tmp_path / "flat" / "gray.png"), np.full((64, 64, 3), 124, np.uint8))
    options = ["--calib-images", "flat"] if flat else []
    config = str(tiny_model("rtmpose_t").config)
    done = command(
        "convert", INT8, config, "calibrated", "photo.png", "--work-dir", "out", *options
    )
    assert done.code == int(flat), done
    assert f"{'wrong' if flat else 'right'} layers: " in done.out
    assert "not judged: photo.png: " in done.out
    assert "same keypoints" not in done.out
