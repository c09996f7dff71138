"""`posedeploy configs`: what is listed, shown and written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from posedeploy.cli.app import app
from posedeploy.config import list_deploy_configs, load_deploy_config
from posedeploy.errors import BadInputError


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["configs", *words], env={"COLUMNS": "100"})


def test_all_are_listed_a_name_a_line() -> None:
    assert run("list").output.splitlines() == list(list_deploy_configs())


def test_options_choose_among_them() -> None:
    listed = run("list", "--backend=onnxruntime", "--head=simcc", "--precision=fp32")
    assert listed.output.splitlines() == [
        "pose-detection_simcc_onnxruntime_dynamic", "pose-detection_simcc_onnxruntime_static",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend=fax",), "no config of that kind"),
        (("--head=simc",), "Did you mean simcc"),
        (("--precision=fp8",), "fp32, fp16, bf16, int8"),
    ],
)
def test_what_is_not_listed_is_an_error(words: tuple[str, ...], message: str) -> None:
    done = run("list", *words)
    assert isinstance(done.exception, BadInputError)
    assert message in str(done.exception)


def test_json_has_the_parts_of_a_name() -> None:
    rows = {row["name"]: row for row in json.loads(run("list", "--json").output)}
    assert rows["pose-detection_rtmo_openvino_static-416x416"] == {
        "name": "pose-detection_rtmo_openvino_static-416x416", "head": "rtmo",
        "backend": "openvino", "precision": "fp32", "batch": "static",
        "height_width": [416, 416],
    }  # fmt: skip


def test_a_file_is_shown_with_all_it_inherits() -> None:
    done = run("show", "pose-detection_simcc_openvino_static-256x192")
    assert done.exit_code == 0
    assert "width x height 192, 256" in done.output
    assert "'opset_version': 17" in done.output  # inherited from two files away
    facts = json.loads(run("show", "pose-detection_onnxruntime_static", "--json").output)
    assert (facts["head"], facts["width_height"], facts["exporter"]) == (
        "heatmap", None, "torchscript",
    )  # fmt: skip
    assert facts["config"]["backend_config"]["type"] == "onnxruntime"
    assert Path(facts["path"]).is_file()


def test_any_name_of_the_grammar_is_shown() -> None:
    name = "pose-detection_rtmo_openvino-int8_static-384x672"
    assert name not in list_deploy_configs()
    done = run("show", name)
    assert "none: composed from its name" in done.output
    assert "'input': [1, 3, 384, 672]" in done.output
    facts = json.loads(run("show", f"{name}.py", "--json").output)
    assert facts["path"] is None
    parts = facts["head"], facts["precision"], facts["width_height"]
    assert parts == ("rtmo", "int8", [672, 384])


def test_the_text_that_is_shown_is_a_config(tmp_path: Path) -> None:
    shown = run("show", "pose-detection_tensorrt_static-256x192").output
    path = tmp_path / "pose-detection_tensorrt_static-256x192.py"
    path.write_text(shown[shown.index("onnx_config = ") :])
    assert load_deploy_config(path).raw == load_deploy_config(path.stem).raw


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--backend=tensorrt", "--precision=fp16", "--shape=320x224", "--dynamic"),
         "tensorrt-fp16_dynamic-320x224"),
        (("--backend=ncnn", "--head=yolox-pose", "--shape=320x320"),
         "yolox-pose_ncnn_static-320x320"),
        (("--backend=tensorrt",), "tensorrt_static"),
        # one of MMDeploy's: its file, with what it inherits
        (("--backend=onnxruntime", "--head=simcc", "--dynamic"), "simcc_onnxruntime_dynamic"),
    ],
)  # fmt: skip
def test_a_config_is_written_under_its_name(
    words: tuple[str, ...], name: str, tmp_path: Path
) -> None:
    assert run("new", *words, f"--out={tmp_path}").exit_code == 0
    path = tmp_path / f"pose-detection_{name}.py"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    written = load_deploy_config(path)
    assert written.raw == load_deploy_config(path.stem).raw
    assert str(written.name) == path.stem


def test_a_config_is_not_written_over_another(tmp_path: Path) -> None:
    words = ("new", "--backend=onnxruntime", "--head=simcc", f"--out={tmp_path}/a/b")
    path = tmp_path / "a" / "b" / "pose-detection_simcc_onnxruntime_static.py"
    assert run(*words).exit_code == 0
    path.write_text("mine")
    assert isinstance(run(*words).exception, BadInputError)
    assert path.read_text() == "mine"
    assert run(*words, "--force").exit_code == 0
    assert path.read_text() != "mine"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend=tensorrt", "--dynamic"), "tensorrt needs one for a dynamic batch"),
        (("--backend=ncnn", "--shape=64x64", "--dynamic"), "a dynamic batch"),
        (("--backend=openvino", "--shape=256"), "Write it as 256x192"),
        (("--backend=openvino", "--shape=31x64"), "Use 32x64"),
        (("--backend=fax", "--shape=64x64"), "one of: coreml, litert, ncnn"),
        (("--backend=torchscript", "--precision=int8", "--shape=64x64"), "fp32"),
        (("--backend=openvino", "--shape=64x64", "--out={file}"), "--out"),
    ],
)
def test_what_cannot_be_written_is_refused(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = run("new", *(word.format(file=tmp_path / "file") for word in words))
    assert isinstance(done.exception, BadInputError)
    assert message in str(done.exception)


def test_show_reads_a_file_and_runs_none(tmp_path: Path) -> None:
    path, made = tmp_path / "mine.py", tmp_path / "made"
    path.write_text(f"onnx_config = dict(opset_version=open({str(made)!r}, 'w').close())\n")
    done = run("show", str(path))
    assert isinstance(done.exception, BadInputError)
    assert "`dict(opset_version=open(" in done.exception.found
    assert not made.exists()
