"""`posedeploy validate`: its table, its JSON and its exit statuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from posedeploy.apis.deploying import deploy
from posedeploy.cli import main
from posedeploy.cli.app import app

CLIENT = "mmdeploy-runtime-1.3.1"


def run(*words: str) -> Result:
    """The command's end, on a terminal that is wide enough for whole sentences."""
    return CliRunner().invoke(app, ["validate", *words], env={"COLUMNS": "400"})


@pytest.fixture(scope="module")
def whole(tiny_model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was just converted."""
    tiny, folder = tiny_model("rtmpose_t"), tmp_path_factory.mktemp("validate") / "[bold]sdk"
    deploy("pose-detection_simcc_onnxruntime_static", tiny.config, tiny.checkpoint, folder)
    return folder


@pytest.fixture
def changed(whole: Path, tmp_path: Path) -> Callable[[str, Callable[[Any], object]], Path]:
    """A copy of it with one JSON file changed."""

    def make(name: str, change: Callable[[Any], object]) -> Path:
        for path in whole.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        content = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        change(content)
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return make


def transforms(pipeline: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pipeline["pipeline"]["tasks"][0]["transforms"]
    return found


def other_colors(pipeline: dict[str, Any]) -> None:
    next(t for t in transforms(pipeline) if t["type"] == "Normalize")["to_rgb"] = False


def other_version(detail: dict[str, Any]) -> None:
    detail["version"] = "0.0.1"


@pytest.mark.parametrize("options", [(), ("--client", CLIENT)], ids=["ours", "old client"])
def test_a_whole_folder_has_nothing_wrong_and_its_name_is_no_markup(
    whole: Path, options: tuple[str, ...]
) -> None:
    done = run(str(whole), *options)
    assert done.exit_code == 0, done.output
    assert "nothing wrong" in done.output
    assert "[bold]sdk" in done.output
    assert (CLIENT in done.output) == bool(options)


def test_colors_in_another_order_are_an_error_with_place_and_consequence(
    changed: Callable[..., Path],
) -> None:
    done = run(str(changed("pipeline.json", other_colors)))
    assert done.exit_code == 1
    for text in ("error", "pipeline.json", ".to_rgb", "False", "True", "silently wrong"):
        assert text in done.output
    assert "1 error, 1 warning in" in done.output  # and that the file was edited


def test_a_warning_alone_is_no_failure(changed: Callable[..., Path]) -> None:
    done = run(str(changed("detail.json", other_version)))
    assert done.exit_code == 0
    assert "0 errors, 1 warning in" in done.output


def test_a_folder_without_checksums_has_nothing_wrong_and_a_note(
    changed: Callable[..., Path],
) -> None:
    done = run(str(changed("detail.json", lambda detail: detail["posedeploy"].pop("files"))))
    assert done.exit_code == 0
    assert "nothing wrong" in done.output
    assert "no checksums" in done.output
    assert "0 errors" not in done.output


def test_flipped_bits_are_an_error(changed: Callable[..., Path]) -> None:
    folder = changed("detail.json", lambda _: None)
    path = folder / "end2end.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.unlink()
    path.write_bytes(content)
    done = run(str(folder))
    assert done.exit_code == 1
    assert "SHA-256" in done.output


def test_json_holds_every_part_of_a_finding_and_nothing_else(
    changed: Callable[..., Path],
) -> None:
    folder = changed("pipeline.json", other_colors)
    done = run(str(folder), "--json", "--client", CLIENT)
    printed = json.loads(done.output)
    assert done.exit_code == 1
    assert (printed["folder"], printed["client"]) == (str(folder), CLIENT)
    finding, edited = printed["findings"]
    assert (edited["level"], edited["file"]) == ("warning", "pipeline.json")
    assert finding["level"] == "error"
    assert finding["file"] == "pipeline.json"
    assert finding["path"].endswith(".to_rgb")
    assert set(finding) == {"level", "file", "path", "found", "expected", "consequence"}


def test_a_file_in_the_folder_and_a_zip_of_it_are_checked_as_the_folder(
    whole: Path, tmp_path: Path
) -> None:
    path = shutil.make_archive(str(tmp_path / "sdk"), "zip", whole)
    for named in (str(whole / "end2end.onnx"), path):
        done = run(named, "--json")
        assert (done.exit_code, json.loads(done.output)["findings"]) == (0, [])


def test_json_of_a_whole_folder_is_an_empty_list(whole: Path) -> None:
    done = run(str(whole), "--json")
    assert (done.exit_code, json.loads(done.output)["findings"]) == (0, [])


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["no/such/folder"], "no such folder"),
        ([__file__], "a file"),
        ([str(Path(__file__).parent), "--client", "nobody"], CLIENT),
    ],
)
def test_bad_input_is_four_lines_and_status_2(
    words: list[str],
    printed: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["validate", *words])
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert out == ""
    assert printed in err
    assert len(err.splitlines()) == 4
