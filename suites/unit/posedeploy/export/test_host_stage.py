"""Detectors whose graph ends early, and who goes on: the SDK's components, and the judge's way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from poseconform.reference.heads import reference_head
from poseconform.reference.host_detections import finish
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import host_work, write_graph
from posedeploy.export.ncnn_rewrites import ncnn_operators, with_ncnn_modules
from posedeploy.export.pose_decoder_weights import pose_decoder_arrays
from posedeploy.runtime.torchscript import SIGNATURE, read_signature
from posedeploy.runtime.torchscript_program import problems_of_file
from posedeploy.sdk.decode import compile_decoder
from posedeploy.sdk.decode.detections import read_pose_decoder
from posedeploy.sdk.fields import Node

DETECTORS = ("yoloxpose", "rtmo")
SEVERAL = ("yoloxpose/3", "rtmo/3")  # classes
# what YOLOX-Pose and RTMO end with where a backend cannot hold suppression
STAGES = dict.fromkeys(("yoloxpose", "yoloxpose/3"), "dense") | dict.fromkeys(
    ("rtmo", "rtmo/3"), "raw"
)
COMPONENTS = {"dense": "YOLOXPoseHostDetections", "raw": "RTMOHostDetections"}


def outputs_of(it: Any, image: torch.Tensor, stage: str) -> dict[str, Any]:
    module = it.exportable(stage=stage)
    with torch.no_grad():
        made = module.network(image)
    return {n: t.numpy() for n, t in zip(module.output_names, made, strict=True)}


def decoder_of(it: Any, folder: Any, **changes: Any) -> Any:
    module = it.exportable(stage=STAGES[it.name])
    work = host_work(module, it.model, it.config, it.deploy_config(), folder) | changes
    node = Node({**work, "input_size": list(it.size)}, "pipeline.json", "$.params")
    return compile_decoder(COMPONENTS[STAGES[it.name]], node, it.size, folder)


@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_the_sdk_finds_the_people_of_predict(
    subject: Callable[[str], Any],
    assert_same_people: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    it = subject(name)
    image = it.image(3)
    found = decoder_of(it, tmp_path).decode(outputs_of(it, image, STAGES[name]))
    expected = it.predict(image)
    assert len(found.box_scores) > 6
    for row, one in enumerate(expected):
        mine = found.image == row
        columns = [found.boxes[mine], found.box_scores[mine, None]]
        if found.labels is not None:
            columns.append(found.labels[mine, None])
        dets = np.concatenate(columns, axis=1)
        points = np.concatenate([found.points[mine], found.point_scores[mine, :, None]], axis=2)
        assert_same_people(dets, points, one)


@pytest.mark.parametrize("name", DETECTORS)
def test_nobody_is_nobody(subject: Callable[[str], Any], tmp_path: Path, name: str) -> None:
    it = subject(name)
    outputs = outputs_of(it, it.image(1), STAGES[name])
    key = "scores" if name == "yoloxpose" else "cls"
    outputs[key] = np.full_like(outputs[key], 0.0 if name == "yoloxpose" else -50.0)
    found = decoder_of(it, tmp_path).decode(outputs)
    assert found.points.shape == (0, 17, 2)
    assert found.boxes.shape == (0, 4)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_more_people_than_rows(
    subject: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    it = subject(name)
    outputs = outputs_of(it, it.image(1), STAGES[name])
    every = decoder_of(it, tmp_path).decode(outputs)
    two = decoder_of(it, tmp_path, keep_top_k=2).decode(outputs)
    assert len(two.box_scores) == 2
    np.testing.assert_array_equal(two.box_scores, np.sort(every.box_scores)[::-1][:2])


def test_a_graph_that_holds_everything_leaves_no_work(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    for name in ("yoloxpose", "simcc"):
        it = subject(name)
        assert host_work(it.exportable(), it.model, it.config, it.deploy_config(), tmp_path) == {}
    assert not list(tmp_path.iterdir())


def test_the_numpy_classifier_is_mmposes(subject: Callable[[str], Any], tmp_path: Path) -> None:
    it = subject("rtmo")
    decoder_of(it, tmp_path)  # writes the weights
    decode = read_pose_decoder(tmp_path, "end2end.npz", "x")
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((5, it.model.head.dcc.in_channels)).astype(np.float32)
    low = rng.uniform(0, 60, (5, 2)).astype(np.float32)
    boxes = np.concatenate([low, low + rng.uniform(5, 80, (5, 2))], axis=1).astype(np.float32)
    points = decode.points[[0, 3, 7, 11, 20]]
    scale = (boxes[:, 2:] - boxes[:, :2]) * it.model.head.bbox_padding
    cs = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, scale], axis=1).astype(np.float32)
    with torch.no_grad():
        expected = it.model.head.dcc.forward_test(*map(torch.from_numpy, (vectors, cs, points)))
    np.testing.assert_allclose(decode(vectors, boxes, points), expected.numpy(), atol=2e-2)


def test_a_classifier_of_another_kind_is_refused(subject: Callable[[str], Any]) -> None:
    head = subject("rtmo").model.head
    before = head.dcc.gau.pos_enc
    head.dcc.gau.pos_enc = "rope"
    try:
        with pytest.raises(ConversionError, match="gated attention unit"):
            pose_decoder_arrays(head)
    finally:
        head.dcc.gau.pos_enc = before


def _replace(arrays: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**arrays, name: value}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: {k: v for k, v in a.items() if k != "gamma"}, "no array 'gamma'"),
        (lambda a: _replace(a, "gamma", a["gamma"][:, :3]), "'gamma'"),
        (lambda a: _replace(a, "uv_weight", a["uv_weight"][:-1]), "'uv_weight'"),
        (lambda a: _replace(a, "beta", a["beta"].astype(np.float64)), "'beta'"),
        (lambda a: _replace(a, "points", np.full_like(a["points"], np.nan)), "'points'"),
    ],
)
def test_weights_that_are_wrong_are_an_error(
    subject: Callable[[str], Any],
    tmp_path: Path,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    words: str,
) -> None:
    it = subject("rtmo")
    decoder_of(it, tmp_path)
    with np.load(tmp_path / "end2end.npz") as data:
        arrays = dict(data)
    np.savez(tmp_path / "end2end.npz", **change(arrays))
    with pytest.raises(BadInputError, match=words):
        read_pose_decoder(tmp_path, "end2end.npz", "x")


def test_files_that_are_no_weights_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    np.savez_compressed(tmp_path / "b.npz", gamma=np.ones(3, np.float32))
    np.savez(tmp_path / "c.npz", gamma=np.array([{"a": "pickle"}], dtype=object))
    for name, words in (("a", "no archive"), ("b", "compressed"), ("c", "no archive")):
        with pytest.raises(BadInputError, match=words):
            read_pose_decoder(tmp_path, f"{name}.npz", "x")
    with pytest.raises(BadInputError, match="in the folder itself"):
        read_pose_decoder(tmp_path / "deep", "../a.npz", "x")


# --- the judge's way ----------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["dense", "raw"])
@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_the_judge_finds_the_people_of_predict(
    subject: Callable[[str], Any], assert_same_people: Callable[..., None], name: str, stage: str
) -> None:
    it = subject(name)
    image = it.image(1, seed=5)
    it.model.test_cfg = dict(it.config.test_cfg)
    width, height = it.size
    head = reference_head(it.config.head_kind.word)
    (found,) = finish(it.model, head, [outputs_of(it, image, stage)], (height, width))
    (expected,) = it.predict(image)
    order = np.argsort(-found["dets"][0, :, 4], kind="stable")
    assert_same_people(found["dets"][0, order], found["keypoints"][0, order], expected)
    assert "forward" not in vars(it.model.head)


# --- what ncnn cannot trace ---------------------------------------------------------------------


@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_the_trace_for_ncnn_holds_no_slice_of_images_and_is_exact(
    subject: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    it = subject(name)
    config = dataclasses.replace(it.deploy_config(), backend="ncnn")
    module = it.exportable(stage=STAGES[name])
    graph = write_graph(module, config, tmp_path, "ncnn")
    assert graph.path.name == "end2end.pt"
    traced = torch.jit.load(str(graph.path))  # type: ignore[no-untyped-call]
    image = it.image(1)
    with torch.no_grad():
        for got, expected in zip(traced(image), module.network(image), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)
    plain = write_graph(module, config, tmp_path, "torchscript")
    assert graph.nodes.get("slice", 0) < plain.nodes["slice"]
    assert [type(m).__name__ for m in it.model.modules()].count("Focus") == 1, (
        "the model is as it was"
    )


@pytest.mark.parametrize(
    "name",
    [
        "cpm", "heatmap", "litehrnet", "mspn", "rtmo", "rtmpose", "simcc", "swin", "vit",
        "yoloxpose", *SEVERAL,
    ],
)  # fmt: skip
def test_a_dynamic_trace_holds_everything_and_listed_operators_only(
    subject: Callable[[str], Any], tmp_path: Path, name: str
) -> None:
    it = subject(name)
    module = it.exportable()
    graph = write_graph(module, it.deploy_config("dynamic"), tmp_path, "torchscript")
    assert not list(problems_of_file(graph.path))
    extra = {SIGNATURE: ""}
    traced = torch.jit.load(str(graph.path), _extra_files=extra)  # type: ignore[no-untyped-call]
    inputs, outputs = read_signature(extra[SIGNATURE])
    assert inputs[0].shape == ("batch", 3, it.size[1], it.size[0])
    assert tuple(info.name for info in outputs) == module.output_names
    for batch in (1, 3):
        image = it.image(batch)
        with torch.no_grad():
            for got, expected in zip(traced(image), module.network(image), strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_the_attention_of_vitpose_is_a_layer_of_ncnn(subject: Callable[[str], Any]) -> None:
    it = subject("vit")
    module = with_ncnn_modules(it.exportable())
    kinds = [type(m) for m in module.network.modules()]
    assert kinds.count(torch.nn.MultiheadAttention) == 2
    image = it.image(1)
    with torch.no_grad():
        expected = it.model.head(it.model.extract_feat(image))
        torch.testing.assert_close(module.network(image)[0], expected, rtol=0, atol=1e-5)


def test_an_attention_with_a_shortcut_stays_as_it_is(subject: Callable[[str], Any]) -> None:
    it = subject("vit")
    exportable = it.exportable()
    exportable.network.model.backbone.layers[0].attn.v_shortcut = True
    kinds = [type(m) for m in with_ncnn_modules(exportable).network.modules()]
    assert kinds.count(torch.nn.MultiheadAttention) == 1


def test_norms_over_one_dimension_are_rewritten_and_others_are_not() -> None:
    x = torch.randn((2, 3, 4))

    def norms(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        norm = torch.linalg.norm
        return norm(x, dim=-1, keepdim=True), norm(x, 2, 1), norm(x, dim=(1, 2)), norm(x, 1, 2)

    with ncnn_operators():
        traced = torch.jit.trace(norms, x)  # type: ignore[no-untyped-call]
    kinds = [node.kind() for node in traced.inlined_graph.nodes()]
    assert kinds.count("aten::linalg_norm") == 2
    assert kinds.count("aten::sqrt") == 2
    for got, expected in zip(traced(x), norms(x), strict=True):
        torch.testing.assert_close(got, expected)


def test_what_cannot_be_traced_is_a_conversion_error(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    class Untraceable(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, object]:
            return {"output": x, "count": "one"}

    it = subject("heatmap")
    module = dataclasses.replace(it.exportable(), network=Untraceable())
    with pytest.raises(ConversionError, match="the TorchScript tracer"):
        write_graph(module, it.deploy_config(), tmp_path, "torchscript")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score_threshold": 1.5}, r"score_threshold.*from 0 to below 1"),
        ({"iou_threshold": -0.1}, r"iou_threshold.*from 0 to 1"),
        ({"keep_top_k": 0}, r"keep_top_k.*from 1"),
        ({"max_output": "many"}, r"max_output.*an integer"),
        ({"input_size": [8, 8]}, "input_size"),
    ],
)
def test_parameters_out_of_range_are_an_error(
    subject: Callable[[str], Any], tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    it = subject("yoloxpose")
    work = host_work(
        it.exportable(stage=STAGES[it.name]), it.model, it.config, it.deploy_config(), tmp_path
    )
    node = Node({**work, **change}, "pipeline.json", "$.params")
    with pytest.raises(BadInputError, match=words):
        compile_decoder(COMPONENTS[STAGES[it.name]], node, it.size, tmp_path)


def test_an_iou_threshold_of_one_keeps_all_boxes(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    it = subject("yoloxpose")
    outputs = outputs_of(it, it.image(1), STAGES[it.name])
    some = decoder_of(it, tmp_path).decode(outputs)
    limits = {"iou_threshold": 1.0, "pre_top_k": 2**31 - 1, "keep_top_k": 500}
    every = decoder_of(it, tmp_path, **limits).decode(outputs)
    assert len(every.box_scores) == int((outputs["scores"] > 0.3).sum())
    assert len(every.box_scores) > len(some.box_scores)


def test_an_onnx_graph_is_named_onnx_whatever_the_config_says(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    it = subject("simcc")
    config = dataclasses.replace(it.deploy_config(), save_file="model.pt")
    assert write_graph(it.exportable(), config, tmp_path, "onnx").path.name == "model.onnx"
