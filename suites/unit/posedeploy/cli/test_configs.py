"""`posedeploy configs`: what is listed and shown; new configs are what their names say."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from posedeploy.cli.app import app
from posedeploy.config import DeployConfigName, list_deploy_configs, load_deploy_config, parse_name
from posedeploy.config.composing import compose
from posedeploy.errors import BadInputError

NAMES = list_deploy_configs()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["configs", *words], env={"COLUMNS": "100"})


def test_all_are_listed_a_name_a_line() -> None:
    assert run("list").output.splitlines() == list(NAMES)


def test_options_choose_among_them() -> None:
    listed = run("list", "--backend=onnxruntime", "--head=simcc", "--precision=fp32")
    assert listed.output.splitlines() == [
        "pose-detection_simcc_onnxruntime_dynamic", "pose-detection_simcc_onnxruntime_static",
    ]  # fmt: skip
    nothing = run("list", "--backend=fax")
    assert isinstance(nothing.exception, BadInputError)


def test_json_tells_the_parts_of_a_name() -> None:
    said = {row["name"]: row for row in json.loads(run("list", "--json").output)}
    assert said["pose-detection_rtmo_openvino_static-416x416"] == {
        "name": "pose-detection_rtmo_openvino_static-416x416", "head": "rtmo",
        "backend": "openvino", "precision": "fp32", "batch": "static",
        "height_width": [416, 416],
    }  # fmt: skip


def test_one_is_shown_with_all_it_inherits() -> None:
    done = run("show", "pose-detection_simcc_openvino_static-256x192")
    assert done.exit_code == 0
    assert "width x height 192, 256" in done.output
    assert "'opset_version': 17" in done.output  # inherited from two files away
    said = json.loads(run("show", "pose-detection_onnxruntime_static", "--json").output)
    assert (said["head"], said["width_height"], said["exporter"]) == (
        "heatmap", None, "torchscript",
    )  # fmt: skip
    assert said["config"]["backend_config"]["type"] == "onnxruntime"


def test_the_text_that_is_shown_is_a_config(tmp_path: Path) -> None:
    shown = run("show", "pose-detection_tensorrt_static-256x192").output
    path = tmp_path / "pose-detection_tensorrt_static-256x192.py"
    path.write_text(shown[shown.index("onnx_config = ") :])
    assert load_deploy_config(path).raw == load_deploy_config(path.stem).raw


KINDS = sorted(
    {(said.backend, said.precision) for said in map(parse_name, NAMES) if not said.option}
)


@pytest.mark.parametrize(("backend", "precision"), KINDS, ids=lambda word: word)
def test_new_configs_load_and_agree_with_their_names(
    backend: str, precision: str, tmp_path: Path
) -> None:
    heads = {said.variant for said in map(parse_name, NAMES) if said.backend == backend}
    for head, mode in itertools.product(sorted(heads)[:2], ("static", "dynamic")):
        name = DeployConfigName(head, backend, precision, mode, (320, 224))
        path = tmp_path / f"{name}.py"
        path.write_text(compose(name))
        config = load_deploy_config(path)
        assert config.name == name
        found = (config.variant, config.backend, config.precision, config.shape_mode)
        assert found == (head, backend, precision, mode)
        assert config.input_shape == (224, 320)


def test_an_engine_with_a_dynamic_batch_is_told_the_batches() -> None:
    text = compose(DeployConfigName("simcc", "tensorrt", "fp16", "dynamic", (384, 288)))
    for key, batch in (("min_shape", 1), ("opt_shape", 2), ("max_shape", 4)):
        assert f"'{key}': [{batch}, 3, 384, 288]" in text
    static = compose(DeployConfigName("simcc", "tensorrt", "fp16", "static", (384, 288)))
    assert "[2, 3" not in static
    assert "dynamic_axes" not in static


def test_a_new_config_is_written_and_not_over_another(tmp_path: Path) -> None:
    words = ("new", "--backend=onnxruntime", "--head=simcc", "--dynamic", f"--out={tmp_path}/a/b")
    path = tmp_path / "a" / "b" / "pose-detection_simcc_onnxruntime_dynamic.py"
    assert run(*words).exit_code == 0
    assert load_deploy_config(path).input_shape is None
    path.write_text("mine")
    assert isinstance(run(*words).exception, BadInputError)
    assert path.read_text() == "mine"
    assert run(*words, "--force").exit_code == 0
    assert path.read_text() != "mine"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--backend=tensorrt",), "every config of tensorrt has a fixed shape"),
        (("--backend=openvino", "--shape=256"), "Write it as 256x192"),
        (("--backend=openvino", "--shape=31x64"), "Use --shape 32x64"),
        (("--backend=fax", "--shape=64x64"), "posedeploy backends"),
        (("--backend=torchscript", "--precision=int8", "--shape=64x64"), "fp32"),
        (("--backend=openvino", "--shape=64x64", "--out={file}"), "--out"),
    ],
)
def test_what_cannot_be_made_is_refused(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("new", *(word.format(file=tmp_path / "file") for word in words))
    assert isinstance(done.exception, BadInputError)
    assert said in str(done.exception)
