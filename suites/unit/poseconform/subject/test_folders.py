"""What a folder is, is read from it: from `deploy.json` and from its model file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.fake_subject import MODELS, FakeSubject
from poseconform.isolation.artifacts import ArtifactCache
from poseconform.matrix.cells import Cell, Flow, Model
from poseconform.subject.folders import FolderError, FolderSubject, leaves_folder, read_flow
from poseconform.subject.loading import METHODS
from posedeploy.paths import file_sha256

SIMCC = Model("m", "RTMPose", (), "simcc", (64, 48), "m.py")
RTMO = Model("m", "RTMO", (), "rtmo", (64, 64), "m.py", bottom_up=True)


def save(
    path: Path,
    outputs: Sequence[str] = ("simcc_x", "simcc_y"),
    batch: int | str | None = 1,
    kind: type[np.floating[Any]] = np.float32,
    op: str = "Add",
) -> None:
    """A graph of one node an output, with weights of a type."""
    shape = None if batch is None else [batch, 3, 64, 48]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in ("input", *outputs)
    ]
    weights = numpy_helper.from_array(np.ones((2, 3), kind), "w")
    nodes = [helper.make_node(op, ["input", "w"], [name]) for name in outputs]
    onnx.save(
        helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weights])), path
    )


def write(
    folder: Path,
    component: str = "UNKNOWN",
    params: Any = None,
    output_map: Any = None,
    **entry: Any,
) -> Path:
    folder.mkdir(exist_ok=True)
    known = {"name": "m", "net": "end2end.onnx", "weights": "", "backend": "onnxruntime",
             "precision": "FP32", "dynamic_shape": False}  # fmt: skip
    tasks = [
        {"module": "Net", "name": "m", "output_map": output_map},
        {"module": "mmpose", "component": component, "params": params or {}},
    ]
    (folder / "deploy.json").write_text(json.dumps({"models": [known | entry]}))
    (folder / "pipeline.json").write_text(json.dumps({"pipeline": {"tasks": tasks}}))
    return folder


def test_the_model_file_decides_over_the_json(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", net="own name.onnx")
    save(folder / "own name.onnx", batch="N", kind=np.float16)
    flow = read_flow(folder, SIMCC)
    assert (flow.backend, flow.precision, flow.shape_mode) == ("onnxruntime", "fp16", "dynamic")
    assert flow.deploy_config == "pose-detection_simcc_onnxruntime-fp16_dynamic"
    assert (flow.folder, flow.files) == (str(folder.resolve()), ("own name.onnx",))
    assert flow.fits(SIMCC)
    save(folder / "own name.onnx", op="QuantizeLinear")
    flow = read_flow(folder, SIMCC)
    assert (flow.precision, flow.shape_mode) == ("int8", "static")
    save(folder / "own name.onnx", batch=None)
    assert read_flow(folder, SIMCC).shape_mode == "static"


@pytest.mark.parametrize("content", [None, b"no graph at all"])
def test_of_a_file_that_cannot_be_read_the_json_tells(tmp_path: Path, content: Any) -> None:
    folder = write(tmp_path / "a", dynamic_shape=True)
    if content is not None:
        (folder / "end2end.onnx").write_bytes(content)
    assert read_flow(folder, SIMCC).shape_mode == "dynamic"
    ncnn = write(folder, backend="ncnn", net="a.param", weights="a.bin", precision="FP16")
    flow = read_flow(ncnn, SIMCC)
    assert (flow.backend, flow.precision, flow.files) == ("ncnn", "fp16", ("a.param", "a.bin"))
    assert flow.inference_precision == ""
    flow = read_flow(write(folder, backend="openvino", net="a.xml", precision="BF16"), SIMCC)
    assert (flow.precision, flow.inference_precision) == ("bf16", "bf16")


def test_where_a_detectors_graph_ends_is_read_from_its_outputs(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    for outputs, before in (
        (("dets", "keypoints"), False),
        (("scores", "boxes", "keypoints"), True),
        (("cls", "bbox", "kpt_vis", "pose_vec"), True),
        (("something", "else"), False),
    ):
        save(folder / "end2end.onnx", outputs)
        assert read_flow(folder, RTMO).host_suppression == before, outputs
    (folder / "end2end.onnx").unlink()
    assert read_flow(write(folder, "RTMOHostDetections"), RTMO).host_suppression


def test_decoded_keypoints_are_known_by_the_component_whatever_their_names(tmp_path: Path) -> None:
    decoded = {"export_postprocess": True}
    folder = write(tmp_path / "a", "SimCCLabelDecode", decoded)
    save(folder / "end2end.onnx")
    assert read_flow(folder, SIMCC).keypoints == ("simcc_x", "simcc_y")
    save(folder / "end2end.onnx", ("scores", "points"))
    write(folder, "SimCCLabelDecode", decoded, {"simcc_x": "points", "simcc_y": "scores"})
    assert read_flow(folder, SIMCC).keypoints == ("points", "scores")
    write(folder, "SimCCLabelDecode", {"export_postprocess": False})
    assert read_flow(folder, SIMCC).keypoints == ()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"backend": "snpe"}, "backend: found 'snpe'; expected one of coreml, litert, ncnn"),
        ({"backend": None}, "backend: found None"),
        ({"net": "../end2end.onnx"}, r"files: found \.\./end2end\.onnx; expected names"),
        (
            {"backend": "ncnn", "net": "a.param", "precision": "INT4"},
            "found int4; expected one of",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_file(
    tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    with pytest.raises(FolderError, match=message):
        read_flow(write(tmp_path / "a", **entry), SIMCC)


def test_what_is_no_folder_of_a_model_is_refused(tmp_path: Path) -> None:
    graph = tmp_path / "a.onnx"
    graph.write_bytes(b"")
    with pytest.raises(FolderError, match=r"found a bare model file.*`posedeploy compare`"):
        read_flow(graph, SIMCC)
    folder = write(tmp_path / "a")
    for name, text, found in (
        ("deploy.json", "[]", "found a list"),
        ("deploy.json", "{", "found no JSON"),
        ("deploy.json", '{"models": []}', "found no models"),
        ("pipeline.json", '{"pipeline": 1}', "pipeline.tasks: found no tasks"),
        ("pipeline.json", None, "pipeline.json: found no such file"),
    ):
        write(folder)
        if text is None:
            (folder / name).unlink()
        else:
            (folder / name).write_text(text)
        with pytest.raises(FolderError, match=found):
            read_flow(folder, SIMCC)


def test_the_folder_itself_is_what_is_judged(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    (folder / "sub").mkdir()
    (folder / "sub" / "b.bin").write_bytes(b"abc")
    (folder / "output_onnxruntime.jpg").write_bytes(b"drawn")
    flow = Flow("x", "simcc", "onnxruntime", "fp32", "static", None, folder=str(folder))
    checkpoint = tmp_path / "m.pth"
    checkpoint.write_bytes(b"weights")
    subject = FolderSubject()
    done = subject.convert(Cell(SIMCC, flow), str(checkpoint), "", ArtifactCache(tmp_path / "c"))
    assert done.folder == folder
    assert set(done.files) == {"deploy.json", "pipeline.json", "sub/b.bin"}
    assert done.files["sub/b.bin"] == (file_sha256(folder / "sub" / "b.bin"), 3)
    assert (done.export, done.convert) == ({}, {})
    assert done.checkpoint_sha256 == file_sha256(checkpoint)
    assert [name for name in METHODS if not hasattr(subject, name)] == []
    assert not getattr(subject, "house_rules", False)
    assert subject.conversion_availability("tensorrt").ok


def test_a_model_of_the_zoo_keeps_its_weights_under_another_name() -> None:
    @dataclass(frozen=True)
    class Known(FakeSubject):
        fetched: list[str] = field(default_factory=list)

        def fetch_published(self, models: Sequence[Model]) -> None:
            self.fetched.extend(model.name for model in models)

    known = Known()
    subject = FolderSubject(known)
    renamed = replace(MODELS[1], name="m2.mine")
    assert subject.checkpoint_for(renamed) == "m2-calibrated-0.pth"
    subject.fetch_published([renamed, SIMCC])
    assert known.fetched == ["m2", "m"]


@pytest.mark.parametrize(
    ("name", "leaves"),
    [("a.onnx", False), ("sub/a", False), ("../a", True), ("/a", True), ("c:/a", True),
     ("a\\..\\..\\b", True)],
)  # fmt: skip
def test_a_name_that_leads_out_of_the_folder(name: str, leaves: bool) -> None:
    assert leaves_folder(name) == leaves
