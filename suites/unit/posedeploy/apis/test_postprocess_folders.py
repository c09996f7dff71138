"""Folders whose graph holds the decoding find what the whole graph's decoding finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.tiny_models import TinyModel
from posedeploy.apis.deploying import deploy
from posedeploy.apis.utils import build_task_processor
from posedeploy.cli import main
from posedeploy.config import deploy_config_text, load_deploy_config
from posedeploy.sdk import PoseDetector
from posedeploy.sdk.images import write_image
from posedeploy.sdk.validate import validate
from posedeploy.synthetic.drawn import drawn_figures

FLOWS = ("onnxruntime_dynamic", "onnxruntime_static", "openvino_dynamic", "torchscript_dynamic")
Convert = Callable[[str], Path]


@pytest.fixture(scope="module")
def convert(
    tiny_model: Callable[[str], TinyModel], tmp_path_factory: pytest.TempPathFactory
) -> Convert:
    """Converts the small RTMPose once with each deploy config."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            tiny, made[name] = tiny_model("rtmpose_t"), tmp_path_factory.mktemp("made") / "sdk"
            deploy(name, tiny.config, tiny.checkpoint, made[name])
        return made[name]

    return folder


def found(folder: Path) -> np.ndarray:
    figures = list(drawn_figures("evaluation", 3))
    with PoseDetector(folder) as detector:
        lists = detector.batch([f.image for f in figures], [f.bboxes for f in figures])
    return np.concatenate(lists)


def name(flow: str, option: str = "-keypoints") -> str:
    backend, mode = flow.split("_")
    return f"pose-detection_simcc_{backend}{option}_{mode}"


@pytest.mark.parametrize("flow", FLOWS)
def test_a_folder_finds_the_same_keypoints_and_is_without_findings(
    convert: Convert, flow: str
) -> None:
    folder = convert(name(flow))
    other = convert(name(flow, ""))
    ours, whole = found(folder), found(other)
    np.testing.assert_allclose(ours[..., :2], whole[..., :2], atol=0.01)
    np.testing.assert_allclose(ours[..., 2], whole[..., 2], atol=1e-6)
    assert validate(folder, "mmdeploy-runtime-1.3.1" if "onnx" in flow else None) == []


def test_names_of_mmdeploys_config_stay_in_the_graph(convert: Convert, tmp_path: Path) -> None:
    """As MMDeploy writes such a folder: no map, and keypoints under the name simcc_x."""
    config = tmp_path / "mine.py"
    text = deploy_config_text("pose-detection_simcc_onnxruntime_static")
    config.write_text(f"{text}\ncodebase_config['export_postprocess'] = True\n", encoding="utf-8")
    folder = convert(str(config))
    net, decode = json.loads((folder / "pipeline.json").read_text())["pipeline"]["tasks"][1:]
    assert net["output_map"] == {}
    assert decode["component"] == "SimCCLabelDecode"
    assert decode["params"]["export_postprocess"] is True
    np.testing.assert_array_equal(found(folder), found(convert(name("onnxruntime_static"))))


def test_the_json_says_what_the_client_reads(convert: Convert) -> None:
    folder = convert(name("onnxruntime_dynamic"))
    net, _ = json.loads((folder / "pipeline.json").read_text())["pipeline"]["tasks"][1:]
    assert net["output_map"] == {"simcc_x": "keypoints", "simcc_y": "scores"}
    folder = convert(name("torchscript_dynamic"))
    net, _ = json.loads((folder / "pipeline.json").read_text())["pipeline"]["tasks"][1:]
    assert net["output_map"] == {"simcc_x": "#0", "simcc_y": "#1"}


def test_a_parameter_that_contradicts_the_graph_is_an_error(
    convert: Convert, tmp_path: Path
) -> None:
    folder = tmp_path / "sdk"
    folder.mkdir()
    for file in convert(name("onnxruntime_static")).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    path = folder / "pipeline.json"
    path.write_text(path.read_text().replace(
        '"export_postprocess": true', '"export_postprocess": false'))  # fmt: skip
    findings = [finding for finding in validate(folder) if finding.level.value == "error"]
    assert any("[1, 17, 2]" in finding.found for finding in findings)


def test_coordinates_stay_in_float32_at_lower_precision(convert: Convert) -> None:
    import onnx

    folder = convert("pose-detection_simcc_onnxruntime-fp16-keypoints_static")
    graph = onnx.load(folder / "end2end.onnx").graph
    assert {v.type.tensor_type.elem_type for v in graph.output} == {onnx.TensorProto.FLOAT}
    recipe = json.loads((folder / "detail.json").read_text())["posedeploy"]["recipe"]
    assert recipe["kept"]["decode and NMS"] > 5
    halves = {n.output[0] for n in graph.node if n.op_type == "Cast" and n.attribute[0].i == 10}
    counted, after = set(), [n.output[0] for n in graph.node if n.op_type == "ArgMax"]
    while after:
        tensor = after.pop()
        counted.add(tensor)
        after += [o for n in graph.node if tensor in n.input for o in n.output]
    read = {i for n in graph.node for i in n.input}
    assert not halves & counted & read
    assert "keypoints" in counted


def test_mmdeploys_fp16_config_keeps_the_outputs_in_float32(
    convert: Convert, tmp_path: Path
) -> None:
    """Its `keep_io_types=False` holds for the input alone."""
    config = tmp_path / "half.py"
    text = deploy_config_text("pose-detection_simcc_onnxruntime-fp16_static")
    config.write_text(f"{text}\ncodebase_config['export_postprocess'] = True\n", encoding="utf-8")
    assert (
        load_deploy_config(config).raw["backend_config"]["common_config"]["keep_io_types"] is False
    )
    with PoseDetector(convert(str(config))) as detector:
        assert detector._session is not None
        assert [info.dtype for info in detector._session.inputs] == ["float16"]
        assert {info.dtype for info in detector._session.outputs} == {"float32"}


def test_the_documented_api_takes_such_a_folder(
    convert: Convert, tiny_model: Callable[[str], TinyModel]
) -> None:
    tiny, figure = tiny_model("rtmpose_t"), next(iter(drawn_figures("evaluation", 1)))
    points = []
    for deploy_config in (name("onnxruntime_dynamic"), name("onnxruntime_dynamic", "")):
        processor = build_task_processor(tiny.config, deploy_config, "cpu")
        model = processor.build_backend_model([convert(deploy_config) / "end2end.onnx"])
        data, _ = processor.create_input(figure.image, bboxes=figure.bboxes)
        (sample,) = model.test_step(data)
        points.append(sample.pred_instances.keypoints)
    np.testing.assert_allclose(points[0], points[1], atol=0.01)


def test_the_command_line_takes_such_a_folder(
    convert: Convert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, image = convert(name("onnxruntime_static")), tmp_path / "figure.png"
    write_image(image, next(iter(drawn_figures("evaluation", 1))).image)

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(ended.value.code or 0)

    assert run("infer", str(folder), str(image), "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run("validate", str(folder), "--client", "mmdeploy-runtime-1.3.1") == 0
    assert run("profile", str(folder), "--json", "--calls", "2", "--warm-up", "0") == 0
    capsys.readouterr()
