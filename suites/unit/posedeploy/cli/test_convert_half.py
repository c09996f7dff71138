"""`posedeploy convert` in half precision, of weights that find people: right, and with a fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.cli import main
from posedeploy.convert import onnxruntime
from posedeploy.precision.fp16 import to_fp16
from posedeploy.sdk.checks import Level
from posedeploy.sdk.validate import validate
from posedeploy.synthetic.drawn import drawn_figures

DEPLOY = "pose-detection_simcc_onnxruntime-fp16_static"
BINS = 6  # 3 px


def plant_a_turn(graph: Path) -> None:
    """Turn simcc_x by `BINS`, with one more node."""
    model = onnx.load(graph)
    (output,) = (o for o in model.graph.output if o.name == "simcc_x")
    bins = output.type.tensor_type.shape.dim[2].dim_value
    for node in model.graph.node:
        node.output[:] = ["before" if name == "simcc_x" else name for name in node.output]
    turned = np.roll(np.arange(bins, dtype=np.int64), BINS)
    model.graph.initializer.append(numpy_helper.from_array(turned, "turned"))
    model.graph.node.append(helper.make_node("Gather", ["before", "turned"], ["simcc_x"], axis=2))
    onnx.save(model, graph)


def with_a_turn(ir: Path, target: Path, **arguments: Any) -> Any:
    """What `to_fp16` does, and a wrong node."""
    kept = to_fp16(ir, target, **arguments)
    plant_a_turn(target)
    return kept


def test_where_keypoints_differ_it_is_said_what_leaves_float16(
    tiny_model: Callable[[str], TinyModel],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny, image = tiny_model("rtmpose_t"), tmp_path / "figure.png"
    cv2.imwrite(str(image), drawn(3, (120, 90)).image)
    checkpoint = torch.load(tiny.checkpoint)
    checkpoint["state_dict"]["backbone.stem.0.bn.weight"] *= 1e7
    torch.save(checkpoint, tmp_path / "model.pth")
    # ONNX Runtime computes it in float32 on a CPU, so that the difference has to be planted too
    monkeypatch.setattr(onnxruntime, "to_fp16", with_a_turn)
    monkeypatch.setenv("COLUMNS", "200")
    paths = [tiny.config, tmp_path / "model.pth", image, f"--work-dir={tmp_path / 'out'}"]
    with pytest.raises(SystemExit) as caught:
        main(["convert", DEPLOY, *map(str, paths)])
    assert caught.value.code == 1
    ours = json.loads((tmp_path / "out" / "detail.json").read_text())["posedeploy"]
    worst, *others = ours["leaves_float16"]
    assert "value" in worst["risks"]
    printed = capsys.readouterr().out
    assert f"leaves float16: {worst['module']}: {worst['operator']} (value, " in printed
    assert f"at risk on onnxruntime. {len(others)} more in detail.json" in printed
    assert all(found.level is not Level.ERROR for found in validate(tmp_path / "out"))


@pytest.mark.parametrize("fault", [False, True], ids=["right", "one node wrong"])
def test_a_conversion_to_half_precision_is_told_from_one_with_a_wrong_node(
    fault: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if fault:
        monkeypatch.setattr(onnxruntime, "to_fp16", with_a_turn)
    monkeypatch.setenv("COLUMNS", "200")
    (figure,) = drawn_figures("evaluation", 1)
    image = tmp_path / "figure.png"
    cv2.imwrite(str(image), figure.image)
    words = [DEPLOY, "rtmpose_t", "trained", str(image), f"--work-dir={tmp_path / 'out'}"]
    with pytest.raises(SystemExit) as caught:
        main(["convert", *words])
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if " keypoints: " in line]
    assert len(lines) == 5  # the image, and four figures
    assert (caught.value.code or 0) == int(fault)
    word = "different" if fault else "same"
    for line in lines:
        assert line.startswith(f"{word} keypoints: ")
        assert "px; PyTorch's own rounding 0.00 / 0." in line
        median = float(line.partition("median ")[2].partition(" px")[0])
        assert (median == BINS / 2) if fault else (median == 0)
        assert "(allowed 0.75 / " in line
    assert ("no value, sum or weight of the model leaves float16" in printed) == fault
