"""`posedeploy compare`: its lines, its exit codes, and what it refuses before building."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from fixtures.images import drawn
from fixtures.tiny_models import TinyModel
from posedeploy.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `compare` in an empty folder with a photograph; exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    assert cv2.imwrite("photo.png", drawn(3, (120, 90)).image)

    def compare(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["compare", *map(str, words)])
        return (int(ended.value.code or 0), *capsys.readouterr())

    return compare


def test_the_same_keypoints_are_drawn_and_the_code_is_0(
    run: Run, tiny_sdk: Callable[[str], Path], tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny, folder = tiny_model("rtmpose_t"), tiny_sdk("rtmpose_t")
    code, out, err = run(folder, tiny.config, tiny.checkpoint, "photo.png")
    assert code == 0, err
    stages = ["load", "run", "finite", "contract", "numeric", "keypoints", "sdk"]
    lines = [line.split() for line in out.splitlines()]
    assert [words[0] for words in lines if words[1:2] == ["ok"]] == stages
    assert "from float64 (allowed" in out
    assert "same keypoints: photo.png: 1 person" in out
    assert {p.name for p in Path("comparison").iterdir()} == {
        "output_onnxruntime.jpg", "output_pytorch.jpg",
    }  # fmt: skip


def test_other_keypoints_name_the_stage_and_the_code_is_1(
    run: Run, tiny_sdk: Callable[[str], Path], tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny, folder = tiny_model("rtmpose_t"), Path("sdk")
    shutil.copytree(tiny_sdk("rtmpose_t"), folder)
    (folder / "detail.json").unlink()
    pipeline = json.loads((folder / "pipeline.json").read_text())
    pipeline["pipeline"]["tasks"][0]["transforms"][1]["padding"] = 2.5
    (folder / "pipeline.json").write_text(json.dumps(pipeline))
    code, out, _ = run(folder, tiny.config, tiny.checkpoint, "photo.png", "--out", "seen")
    assert code == 1
    assert "padding: found 2.5; expected 1.25" in out
    assert "it differs from PyTorch first at 'contract'" in out
    assert (Path("seen") / "output_pytorch.jpg").is_file()


# ---- modify this table to add bad input ------------------------------------------------------
# words after ARTIFACT MODEL_CFG -> part of the error
BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "a device that is a number": (("x.onnx", "rtmpose_t", "c", "--device", "cuda:x"), "--device"),
    "a file of no backend": (("photo.png", "rtmpose_t", "calibrated"), "a .png file"),
    "a folder without a model": ((".", "rtmpose_t", "calibrated"), "deploy.json"),
    "an image that is none": (("x.onnx", "rtmpose_t", "c", "nowhere.jpg"), "nowhere.jpg"),
    "an output without a name": (
        ("x.onnx", "rtmpose_t", "c", "--outputs", "simcc_x"), "NAME=GRAPH_NAME",
    ),
    "another precision": (("x.onnx", "rtmpose_t", "c", "--precision", "fp8"), "fp16"),
    "ncnn without its weights": (("m.param", "rtmpose_t", "calibrated"), "no m.bin beside it"),
    "no such file": (("x.onnx", "rtmpose_t", "calibrated"), "nothing there"),
}  # fmt: skip
# ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_built(run: Run, case: str) -> None:
    Path("m.param").touch()
    words, part = BAD[case]
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert part in err
    assert not Path("comparison").exists()


@pytest.mark.parametrize("words", [("--outputs", "simcc_x=a"), ("--precision", "int8")])
def test_what_a_folders_json_has_is_not_an_option(
    run: Run, tiny_sdk: Callable[[str], Path], tiny_model: Callable[[str], TinyModel],
    words: tuple[str, str],
) -> None:  # fmt: skip
    tiny = tiny_model("rtmpose_t")
    code, _, err = run(tiny_sdk("rtmpose_t"), tiny.config, tiny.checkpoint, "photo.png", *words)
    assert code == 2
    assert f"error: {words[0]}" in err


def test_an_artifact_of_another_head_is_refused(
    run: Run, tiny_sdk: Callable[[str], Path], tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny = tiny_model("rtmpose_t/heatmap")
    for artifact in (tiny_sdk("rtmpose_t"), tiny_sdk("rtmpose_t") / "end2end.onnx"):
        code, _, err = run(artifact, tiny.config, tiny.checkpoint, "photo.png")
        assert code == 2
        assert "SimCCLabelDecode" in err
    bare = shutil.copy(tiny_sdk("rtmpose_t") / "end2end.onnx", "mine.onnx")
    code, _, err = run(bare, tiny.config, tiny.checkpoint, "photo.png")
    assert code == 2
    assert "found:    simcc_x [N, 17, 128], simcc_y [N, 17, 192]" in err
    assert "--outputs output=…" in err
