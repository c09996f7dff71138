"""The validator: silent on a folder that is right, exact about one that is wrong."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest

from posedeploy.errors import BadInputError
from posedeploy.sdk.checks import Finding, Level
from posedeploy.sdk.checks.clients import CLIENTS, client_named
from posedeploy.sdk.checks.detail import same
from posedeploy.sdk.checks.files import MAX_FINDINGS, schema
from posedeploy.sdk.folder import JSON_FILES
from posedeploy.sdk.validate import validate

OLD = "mmdeploy-runtime-1.3.1"
Content = dict[str, Any]
Change = Callable[[Content], object]


def entry(content: Content) -> Content:
    return content["deploy.json"]["models"][0]  # type: ignore[no-any-return]


def drop(key: str, content: Content) -> None:
    del entry(content)[key]


def task(content: Content, index: int) -> Content:
    return content["pipeline.json"]["pipeline"]["tasks"][index]  # type: ignore[no-any-return]


def step(content: Content, index: int) -> Content:
    return task(content, 0)["transforms"][index]  # type: ignore[no-any-return]


def params(content: Content) -> Content:
    return task(content, 2)["params"]  # type: ignore[no-any-return]


def ours(content: Content) -> Content:
    return content["detail.json"]["posedeploy"]  # type: ignore[no-any-return]


def places(findings: list[Finding], level: Level | None = None) -> list[str]:
    wanted = [f for f in findings if level in (None, f.level) and f.level is not Level.NOTE]
    return [f"{finding.file} {finding.path}".strip() for finding in wanted]


@pytest.mark.parametrize("kind", ["heatmap", "simcc", "detections"])
@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_folder_that_is_right_has_no_findings(folders: Any, kind: str, batch: Any) -> None:
    assert validate(folders.make(kind, batch=batch)) == []


@pytest.mark.parametrize("kind", ["heatmap", "simcc"])
def test_the_old_client_takes_top_down_folders(folders: Any, kind: str) -> None:
    assert validate(folders.make(kind), client=OLD) == []


PARAMS_PATH = "$.pipeline.tasks[2].params"
STEP_PATH = "$.pipeline.tasks[0].transforms"
NET_PATH = "$.pipeline.tasks[?(@.module=='Net')]"


def mmdeploy_made(content: Content) -> None:
    """What MMDeploy 1.3.1 writes: no section of ours, an older opset, no known component."""
    del content["detail.json"]["posedeploy"]
    content["detail.json"]["onnx_config"]["opset_version"] = 11
    if "score_thr" in params(content):
        task(content, 2)["component"] = "UNKNOWN"


@pytest.mark.parametrize(
    ("kind", "model", "for_anyone", "for_the_old_client"),
    [
        ("heatmap", "hrnet_w32", [], []),
        ("simcc", "rtmpose_s", [], []),
        *[
            (
                "detections", model, ["pipeline.json $.pipeline.tasks[2].component"],
                [f"pipeline.json {STEP_PATH}[1].type"],
            )
            for model in ("rtmo_s", "yoloxpose_s")
        ],
    ],
)  # fmt: skip
def test_mmdeploys_own_folders(
    folders: Any, kind: str, model: str, for_anyone: list[str], for_the_old_client: list[str]
) -> None:
    """Its four reference folders, without their backend files: that, and what no client runs."""
    content = folders.json(kind, dynamic=model != "hrnet_w32")
    mmdeploy_made(content)
    folder = folders.write(content)
    missing = ["deploy.json $.models[0].net"]
    assert places(validate(folder)) == missing + for_anyone
    expected = {*missing, *for_anyone, *for_the_old_client}
    assert set(places(validate(folder, client=OLD))) == expected


# what -> (kind, change, level, file, JSON path, part of what was expected)
ERRORS: dict[str, tuple[str, Change, str, str]] = {
    "version a number": (
        "simcc", lambda c: c["deploy.json"].update(version=1), "deploy.json $.version", "string",
    ),
    "task of another kind": (
        "simcc", lambda c: c["deploy.json"].update(task="Detector"), "deploy.json $.task",
        "'PoseDetector'",
    ),
    "two models": (
        "simcc", lambda c: c["deploy.json"]["models"].append(entry(c)), "deploy.json $.models",
        "at most 1 items",
    ),
    **{
        f"no {key}": (
            "simcc", partial(drop, key), "deploy.json $.models[0]", f"a field '{key}'",
        )
        for key in (
            "name", "net", "weights", "backend", "precision", "batch_size", "dynamic_shape",
        )
    },
    "names differ": (
        "simcc", lambda c: entry(c).update(name="x"), "pipeline.json $.pipeline.tasks[1].name",
        "'x', the name in deploy.json",
    ),
    "unknown backend": (
        "simcc", lambda c: (
            entry(c).update(backend="x"), c["detail.json"]["backend_config"].update(type="x"),
        ),
        "deploy.json $.models[0].backend", "onnxruntime",
    ),
    "file of another backend": (
        "simcc", lambda c: entry(c).update(net="detail.json"), "deploy.json $.models[0].net",
        ".onnx file",
    ),
    "weights that the backend has not": (
        "simcc", lambda c: entry(c).update(weights="detail.json"),
        "deploy.json $.models[0].weights", "''",
    ),
    "a file outside": (
        "simcc", lambda c: entry(c).update(net="../x.onnx"), "deploy.json $.models[0].net",
        "the folder itself",
    ),
    "dynamic_shape of a static graph": (
        "static", lambda c: entry(c).update(dynamic_shape=True),
        "deploy.json $.models[0].dynamic_shape", "false: the graph's batch is 1",
    ),
    "batch_size above a static batch": (
        "static", lambda c: entry(c).update(batch_size=4), "deploy.json $.models[0].batch_size",
        "at most 1",
    ),
    "no tasks": (
        "simcc", lambda c: c["pipeline.json"]["pipeline"].pop("tasks"),
        "pipeline.json $.pipeline", "a field 'tasks'",
    ),
    "no module": (
        "simcc", lambda c: task(c, 1).pop("module"), "pipeline.json $.pipeline.tasks[1]",
        "a field 'module'",
    ),
    "no input_map": (
        "simcc", lambda c: task(c, 1).pop("input_map"), "pipeline.json $.pipeline.tasks[1]",
        "a field 'input_map'",
    ),
    "tasks not connected": (
        "simcc", lambda c: task(c, 1).update(input=["x"]),
        "pipeline.json $.pipeline.tasks[1].input", "names that connect",
    ),
    "transform without type": (
        "simcc", lambda c: step(c, 1).pop("type"), f"pipeline.json {STEP_PATH}[1]",
        "a field 'type'",
    ),
    "unknown transform": (
        "simcc", lambda c: step(c, 1).update(type="x"), f"pipeline.json {STEP_PATH}[1].type",
        "TopDownGetBboxCenterScale",
    ),
    "a transform twice": (
        "simcc", lambda c: task(c, 0)["transforms"].insert(1, step(c, 0)),
        f"pipeline.json {STEP_PATH}[1].type", "once",
    ),
    "mean of two": (
        "simcc", lambda c: step(c, 3).update(mean=[1, 2]), f"pipeline.json {STEP_PATH}[3].mean",
        "at least 3 items",
    ),
    "std 0": (
        "simcc", lambda c: step(c, 3).update(std=[1, 0, 1]), f"pipeline.json {STEP_PATH}[3].std",
        "other than 0",
    ),
    "size of a string": (
        "simcc", lambda c: step(c, 2).update(image_size="48"),
        f"pipeline.json {STEP_PATH}[2].image_size", "array",
    ),
    "no component": (
        "simcc", lambda c: task(c, 2).pop("component"), "pipeline.json $.pipeline.tasks[2]",
        "a field 'component'",
    ),
    "component of the other kind": (
        "simcc", lambda c: task(c, 2).update(component="RTMODetections", params={}),
        "pipeline.json $.pipeline.tasks[2].component", "top-down",
    ),
    "input not in the graph": (
        "simcc", lambda c: task(c, 1).update(input_map={"img": "x"}),
        f"pipeline.json {NET_PATH}.input_map", "input",
    ),
    "output not in the graph": (
        "simcc", lambda c: task(c, 1).update(output_map={"simcc_x": "x"}),
        f"pipeline.json {NET_PATH}.output_map", "simcc_x, simcc_y",
    ),
    "outputs swapped": (
        "simcc", lambda c: task(c, 1).update(output_map={"simcc_x": "#1", "simcc_y": "#0"}),
        "end2end.onnx", "96",
    ),
    "input of another size": (
        "simcc", lambda c: [step(c, i).update(image_size=[64, 64]) for i in (1, 2)]
        and params(c).update(input_size=[64, 64]), "end2end.onnx", "[N, 3, 64, 64]",
    ),
    "heatmaps of another size": (
        "heatmap", lambda c: params(c).update(heatmap_size=[24, 32]), "end2end.onnx", "32, 24",
    ),
    "megvii on MSRA": (
        "heatmap", lambda c: params(c).update(post_process="megvii"),
        f"pipeline.json {PARAMS_PATH}.post_process", "'default'",
    ),
    "unbiased on MSRA": (
        "heatmap", lambda c: params(c).update(post_process="unbiased"),
        f"pipeline.json {PARAMS_PATH}.post_process", "'default'",
    ),
    "use_udp on MSRA": (
        "heatmap", lambda c: params(c).update(use_udp=True),
        f"pipeline.json {PARAMS_PATH}.use_udp", "False",
    ),
    "colors swapped": (
        "simcc", lambda c: (
            ours(c).update(model={"bgr_to_rgb": True}), step(c, 3).update(to_rgb=False),
        ),
        f"pipeline.json {STEP_PATH}[3].to_rgb", "True, as the model config",
    ),
    "another mean": (
        "simcc", lambda c: ours(c).update(model={"mean": [103.53, 116.28, 123.675]}),
        f"pipeline.json {STEP_PATH}[3].mean", "103.53",
    ),
    "another std": (
        "simcc", lambda c: ours(c).update(model={"std": [1, 1, 1]}),
        f"pipeline.json {STEP_PATH}[3].std", "[1, 1, 1]",
    ),
    "another color type": (
        "simcc", lambda c: ours(c).update(model={"color_type": "color_ignore_orientation"}),
        f"pipeline.json {STEP_PATH}[0].color_type", "'color_ignore_orientation'",
    ),
    "an unknown color type": (
        "simcc", lambda c: step(c, 0).update(color_type="grayscale"),
        f"pipeline.json {STEP_PATH}[0].color_type", "'color_ignore_orientation'",
    ),
    "another padding": (
        "simcc", lambda c: ours(c).update(model={"padding": 1.5}),
        f"pipeline.json {STEP_PATH}[1].padding", "1.5",
    ),
    "UDP forgotten": (
        "simcc", lambda c: ours(c).update(model={"use_udp": True}),
        f"pipeline.json {STEP_PATH}[2].use_udp", "True",
    ),
    "another codec": (
        "heatmap", lambda c: ours(c).update(model={"codec": {"type": "UDPHeatmap"}}),
        f"pipeline.json {PARAMS_PATH}.type", "'UDPHeatmap'",
    ),
    "DARK forgotten": (
        "simcc", lambda c: ours(c).update(
            model={"codec": {**params(c), "use_dark": True, "sigma": [4.9, 5.66]}}
        ),
        f"pipeline.json {PARAMS_PATH}.use_dark", "True",
    ),
    "names of other keypoints": (
        "simcc", lambda c: ours(c)["dataset_meta"].update(
            keypoint_names=["a"], skeleton_links=[], flip_pairs=[], sigmas=[], keypoint_colors=[],
            skeleton_link_colors=[],
        ),
        "detail.json $.posedeploy.dataset_meta.keypoint_names", "3, as the graph has",
    ),
    "links to keypoints that are not there": (
        "simcc", lambda c: ours(c)["dataset_meta"].update(skeleton_links=[[0, 9]] * 2),
        "detail.json $.posedeploy.dataset_meta.skeleton_links[0]", "from 0 to 2",
    ),
    "another number of keypoints": (
        "detections", lambda c: ours(c).update(model={"num_keypoints": 17}),
        "detail.json $.posedeploy.model.num_keypoints", "3, as the graph has",
    ),
    "classes that the graph has lost": (
        "detections", lambda c: ours(c).update(model={"num_classes": 2}),
        "end2end.onnx", "6 in the last dimension: 2 classes",
    ),
    "names of other classes": (
        "detections", lambda c: ours(c)["dataset_meta"].update(class_names=["cat", "dog"]),
        "detail.json $.posedeploy.dataset_meta.class_names", "1, as num_classes has",
    ),
}  # fmt: skip
WARNINGS: dict[str, tuple[str, Change, str, str]] = {
    "no detail.json": (
        "simcc", lambda c: c.pop("detail.json"), "detail.json", "where the model came from",
    ),
    "ImageNet's mean on BGR": (
        "simcc", lambda c: step(c, 3).update(to_rgb=False), f"pipeline.json {STEP_PATH}[3].to_rgb",
        "True",
    ),
    "another format version": (
        "simcc", lambda c: c["detail.json"].update(version="0"), "detail.json $.version", "1.3.1",
    ),
    "version of another type": (
        "simcc", lambda c: c["detail.json"].update(version=0), "detail.json $.version", "string",
    ),
    "another backend": (
        "simcc", lambda c: c["detail.json"].update(backend_config={"type": "ncnn"}),
        "detail.json $.backend_config.type", "'onnxruntime'",
    ),
    "precision that MMDeploy forgets": (
        "simcc",
        lambda c: c["detail.json"]["backend_config"].update(precision="fp16"),
        "deploy.json $.models[0].precision", "FP16, as backend_config",
    ),
    "opset not as asked for": (
        "simcc", lambda c: c["detail.json"]["onnx_config"].update(opset_version=11),
        "detail.json $.onnx_config.opset_version", "17, as the graph has",
    ),
    "sigmas too few": (
        "simcc", lambda c: ours(c)["dataset_meta"].update(sigmas=[1]),
        "detail.json $.posedeploy.dataset_meta.sigmas", "3 or none",
    ),
    "a keypoint's name twice": (
        "simcc", lambda c: ours(c)["dataset_meta"].update(keypoint_names=["a", "a", "b"]),
        "detail.json $.posedeploy.dataset_meta.keypoint_names", "once",
    ),
}  # fmt: skip


def check(folders: Any, case: tuple[str, Change, str, str], level: Level) -> None:
    kind, change, place, expected = case
    static = kind == "static"
    folder = folders.make("simcc" if static else kind, change, batch=1 if static else "batch")
    findings = validate(folder)
    assert places(findings) == [place], list(map(str, findings))
    assert findings[0].level is level
    assert expected in findings[0].expected
    assert str(findings[0]).startswith(f"{level}: {place}: found ")


@pytest.mark.parametrize("what", ERRORS)
def test_one_mistake_is_one_error(folders: Any, what: str) -> None:
    check(folders, ERRORS[what], Level.ERROR)


@pytest.mark.parametrize("what", WARNINGS)
def test_one_doubt_is_one_warning(folders: Any, what: str) -> None:
    check(folders, WARNINGS[what], Level.WARNING)


# what the old client makes of a change -> (kind, change, level, place)
FOR_THE_OLD_CLIENT: dict[str, tuple[Change, Level, str]] = {
    "unbiased without post_process": (
        lambda c: params(c).update(unbiased=True), Level.WARNING, f"{PARAMS_PATH}.unbiased",
    ),
    "another kernel for unbiased": (
        lambda c: params(c).update(unbiased=True, post_process="unbiased", blur_kernel_size=17),
        Level.WARNING, f"{PARAMS_PATH}.blur_kernel_size",
    ),
    "UDP without use_udp": (
        lambda c: params(c).update(type="UDPHeatmap"), Level.WARNING, f"{PARAMS_PATH}.use_udp",
    ),
    "UDP in the transform": (
        lambda c: step(c, 2).update(use_udp=True), Level.WARNING, f"{STEP_PATH}[2].use_udp",
    ),
    "megvii without post_process": (
        lambda c: (
            params(c).update(type="MegviiHeatmap", kernel_size=5), params(c).pop("post_process")
        ),
        Level.WARNING, f"{PARAMS_PATH}.post_process",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FOR_THE_OLD_CLIENT)
def test_what_the_old_client_ignores(folders: Any, what: str) -> None:
    change, level, path = FOR_THE_OLD_CLIENT[what]
    folder = folders.make("heatmap", change)
    assert validate(folder) == []
    findings = validate(folder, client=OLD)
    assert places(findings, level) == [f"pipeline.json {path}"]
    assert len(findings) == 1


def test_the_old_client_has_no_dark_for_simcc(folders: Any) -> None:
    folder = folders.make("simcc", lambda c: params(c).update(use_dark=True))
    assert places(validate(folder, client=OLD)) == [f"pipeline.json {PARAMS_PATH}.use_dark"]


def test_the_old_client_runs_no_bottom_up_model(folders: Any) -> None:
    findings = validate(folders.make("detections"), client=OLD)
    assert places(findings, Level.ERROR) == [
        f"pipeline.json {STEP_PATH}[1].type", "pipeline.json $.pipeline.tasks[2].component"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("opset", "ir", "levels"),
    [
        (7, 3, []),
        (18, 9, []),
        (19, 9, [Level.WARNING]),
        (20, 9, [Level.ERROR]),
        (17, 10, [Level.ERROR]),
        (21, 11, [Level.ERROR, Level.ERROR]),
    ],
)
def test_graphs_too_new_for_the_old_client(
    folders: Any, opset: int, ir: int, levels: list[Level]
) -> None:
    content = folders.json("heatmap")
    content["detail.json"]["onnx_config"]["opset_version"] = opset
    folder = folders.write(content, folders.graph("heatmap", opset=opset, ir=ir))
    assert validate(folder) == []
    assert [finding.level for finding in validate(folder, client=OLD)] == levels


def test_clients_are_known_by_name() -> None:
    assert client_named(OLD) is CLIENTS[OLD]
    with pytest.raises(BadInputError, match=OLD):
        validate(".", client="mmdeploy")


def graph_with(folders: Any, change: Callable[[onnx.ModelProto], object]) -> list[Finding]:
    graph = folders.graph("detections")
    change(graph)
    return validate(folders.write(folders.json("detections"), graph))


def test_what_the_graph_itself_tells(folders: Any) -> None:
    """Precision, custom operators, weights in other files, inputs of another kind."""

    def add(name: str, dtype: Any) -> Callable[[onnx.ModelProto], object]:
        array = onnx.numpy_helper.from_array(np.zeros(3, dtype), name)
        return lambda m: m.graph.initializer.append(array)

    def external(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer.add(name="w", data_location=1)
        tensor.external_data.add(key="location", value="weights.bin")

    assert graph_with(folders, add("w", np.float32)) == []
    half = graph_with(folders, add("w", np.float16))
    assert [str(f) for f in half] == [
        "warning: deploy.json $.models[0].precision: found FP32; "
        "expected FP16, as the graph is (it is taken for what it is not)"
    ]
    node = onnx.helper.make_node("QuantizeLinear", ["input", "s"], ["q"])
    quantized = graph_with(folders, lambda m: m.graph.node.append(node))
    assert "INT8" in quantized[0].expected
    custom = graph_with(folders, lambda m: m.opset_import.add(domain="mmdeploy", version=1))
    assert "operators of mmdeploy" in custom[0].found
    elsewhere = graph_with(folders, external)
    assert "weights.bin" in elsewhere[0].found
    assert elsewhere[0].level is Level.ERROR

    def to_half(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16

    assert "float16" in graph_with(folders, to_half)[0].found
    two = graph_with(folders, lambda m: m.graph.input.append(m.graph.output[0]))
    assert places(two) == [f"pipeline.json {NET_PATH}.input_map"]

    def free(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    assert [f.level for f in graph_with(folders, free)] == [Level.WARNING]

    def shapeless(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.ClearField("shape")

    assert [f.level for f in graph_with(folders, shapeless)] == [Level.ERROR]


def test_shapes_that_the_graph_does_not_tell_are_not_judged(folders: Any) -> None:
    def unknown(model: onnx.ModelProto) -> None:
        for output in model.graph.output:
            output.type.tensor_type.shape.dim[1].dim_param = "people"

    def none(model: onnx.ModelProto) -> None:
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")

    assert graph_with(folders, unknown) == []
    assert graph_with(folders, none) == []


def test_what_is_no_graph(folders: Any) -> None:
    for data in (b"", b"no graph", folders.graph("simcc").SerializeToString()[:-9]):
        findings = validate(folders.write(folders.json("simcc"), data))
        assert places(findings, Level.ERROR) == ["end2end.onnx"]


def test_links(folders: Any, tmp_path: Path) -> None:
    folder = folders.make("simcc")
    os.replace(folder / "end2end.onnx", tmp_path / "end2end.onnx")
    (folder / "end2end.onnx").symlink_to(tmp_path / "end2end.onnx")
    (folder / "loop").symlink_to("loop")
    (folder / "to_loop").symlink_to("missing/../loop/x")
    (folder / "alias.json").symlink_to("deploy.json")
    findings = validate(folder)
    assert set(places(findings, Level.ERROR)) == {
        "end2end.onnx", "loop", "to_loop", "deploy.json $.models[0].net"
    }  # fmt: skip
    found = {f.file: f.found for f in findings}
    assert found["loop"] == found["to_loop"] == "a loop of links"
    assert found["end2end.onnx"] == "a link out of the folder"
    assert places(findings, Level.WARNING) == ["alias.json"]


@pytest.mark.parametrize("name", JSON_FILES)
def test_a_file_that_cannot_be_read_is_one_error(folders: Any, name: str) -> None:
    folder = folders.make("simcc")
    (folder / name).write_bytes(b'{"a": 1, "a": 2}')
    findings = validate(folder)
    assert places(findings) == [name]
    assert "twice" in findings[0].found


def test_no_folder(tmp_path: Path) -> None:
    assert [f.found for f in validate(tmp_path / "nowhere")] == ["no directory"]
    assert places(validate(tmp_path)) == ["deploy.json", "pipeline.json", "detail.json"]


def test_without_jsonschema_the_first_mistake_is_still_found(
    folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)  # importing it is an ImportError
    findings = validate(folders.make("simcc", lambda c: entry(c).pop("name")))
    assert places(findings, Level.ERROR) == ["deploy.json $.models[0]"]
    assert places(findings, Level.WARNING) == list(JSON_FILES)


def test_a_thousand_mistakes_of_a_kind_are_twenty_findings(folders: Any) -> None:
    steps = [{"type": 0}] * 1000
    findings = validate(folders.make("simcc", lambda c: task(c, 0).update(transforms=steps)))
    assert len(findings) == MAX_FINDINGS


@pytest.mark.parametrize("name", JSON_FILES)
def test_the_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_equality_of_json_values() -> None:
    assert same([1, 2.0], [1.0, 2])
    assert same(0.1, 0.1 + 1e-9)
    assert same(10**400, 10**400)
    for left, right in ((1, True), ([1], [1, 2]), (10**400, 0.5), ("a", 1), (1, 1.001), (None, 0)):
        assert not same(left, right)


@pytest.mark.parametrize(
    ("call", "wrong"), [("torch.relu(x)", []), ('torch.from_file("x", True, 4)', ["end2end.pt"])]
)
def test_a_program_that_could_touch_files_is_an_error(
    folders: Any, call: str, wrong: list[str]
) -> None:
    def of_torchscript(content: Content) -> None:
        entry(content).update(net="end2end.pt", backend="torchscript")
        content["detail.json"]["backend_config"]["type"] = "torchscript"

    content = folders.json("heatmap")
    of_torchscript(content)
    folder = folders.write(content)
    with zipfile.ZipFile(folder / "end2end.pt", "w") as archive:
        archive.writestr("end2end/code/__torch__.py", f"def forward(self, x):\n  return {call}\n")
    assert places(validate(folder)) == wrong


def test_what_is_no_program_at_all_is_an_error(folders: Any) -> None:
    new = {"net": "end2end.pt", "backend": "torchscript"}
    content = folders.json("heatmap")
    entry(content).update(new)
    folder = folders.write(content)
    (folder / "end2end.pt").write_bytes(b"PK no archive")
    (finding,) = [f for f in validate(folder) if f.level is Level.ERROR]
    assert "no TorchScript archive" in finding.found


@pytest.mark.parametrize("batch", ["batch", 1])
def test_a_folder_of_several_classes(folders: Any, batch: int | str) -> None:
    content = folders.json("detections", dynamic=isinstance(batch, str))
    ours(content)["model"] = {"num_classes": 2}
    ours(content)["dataset_meta"]["class_names"] = ["cat", "dog"]
    graph = folders.graph("detections", batch, columns=6)
    assert validate(folders.write(content, graph)) == []
    ours(content)["model"] = {"num_keypoints": 3}
    ours(content)["dataset_meta"].pop("class_names")
    (finding,) = validate(folders.write(content, graph))
    assert finding.level is Level.ERROR
    assert "'dets' of shape ['batch', 4, 6]" in finding.found or "[1, 4, 6]" in finding.found
    assert "5 in the last dimension: 1 class by num_classes" in finding.expected
    other = folders.graph("detections", batch, columns=7)  # neither form
    assert Level.ERROR in {f.level for f in validate(folders.write(content, other))}
