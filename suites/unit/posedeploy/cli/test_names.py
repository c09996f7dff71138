"""Any name of a config, a checkpoint, an image or a folder: convert takes it and prints it."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from fixtures.odd_names import ODD_NAMES, id_of
from fixtures.tiny_models import TinyModel
from posedeploy.apis.comparing import Compared, Comparison
from posedeploy.cli import main
from posedeploy.cli.convert import report, show_folder
from posedeploy.cli.terminal import console
from posedeploy.config import deploy_config_text
from posedeploy.runtime.shifts import judge_shift
from posedeploy.synthetic.figures import draw_figure

STATIC = "pose-detection_simcc_onnxruntime_static"
NAMES = (*ODD_NAMES, "[bold]x", "[red", ":tada:", "[link=x]y", "trailing\\")


def shown(name: str) -> str:
    """How a name is printed: with escapes for what is not printable."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


@pytest.fixture
def out() -> Console:
    console_ = console()
    console_.file = io.StringIO()
    return console_


def text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("name", NAMES, ids=id_of)
@pytest.mark.parametrize("same", [True, False], ids=["same", "different"])
def test_the_name_of_an_image_is_printed_as_it_is(out: Console, name: str, same: bool) -> None:
    shift = judge_shift("fp32", np.full((1, 17), 0.0 if same else 0.2))
    found, distances = np.zeros((1, 17, 3)), Comparison(1, 0, shift)
    report(out, "ncnn", Compared(found, found, distances, f"{name}.jpg"))
    line = text(out)
    assert line.count("\n") == 1
    assert f" keypoints: {shown(f'{name}.jpg')}: " in line


@pytest.mark.parametrize("name", NAMES, ids=id_of)
def test_the_names_in_a_folder_are_printed_as_they_are(
    out: Console, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / f"{name}.bin").write_bytes(bytes(1234))
    show_folder(out, folder)
    first, second, end = text(out).split("\n")
    assert first == f"SDK model: {shown(str(folder))}"
    assert second.startswith(f"  {shown(f'{name}.bin')}")
    assert second.endswith("1,234 bytes")
    assert end == ""


@pytest.mark.parametrize("name", ["-x [bold]'q\" %s::\n\u4eba$HOME", "--help"], ids=ascii)
def test_a_model_whose_files_have_any_name_is_converted(
    tiny_model: Callable[[str], TinyModel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = tiny_model("rtmpose_t")
    shutil.copy(tiny.config, f"{name}.model.py")
    shutil.copy(tiny.checkpoint, f"{name}.pth")
    Path(f"{name}.deploy.py").write_text(deploy_config_text(STATIC))
    cv2.imwrite("photo.png", draw_figure(3, (120, 90))[0])
    Path("photo.png").rename(f"{name}.png")
    files = [f"{name}{end}" for end in (".deploy.py", ".model.py", ".pth", ".png")]
    with pytest.raises(SystemExit) as ended:
        main(["convert", f"--work-dir={name}", "--", *files])
    printed = capsys.readouterr()
    assert (ended.value.code, printed.err) == (0, "")
    assert f"same keypoints: {shown(name)}.png: " in printed.out
    assert f"SDK model: {shown(name)}\n" in printed.out
    written = {path.name for path in (tmp_path / name).iterdir()}
    assert {"end2end.onnx", "output_onnxruntime.jpg", "output_pytorch.jpg"} < written
    assert {path.name for path in tmp_path.iterdir()} == {name, *files}
