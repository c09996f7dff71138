"""ONNX files of the TorchScript exporter: the contract, the numbers, the people."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from posedeploy.config import NmsSettings
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import export_onnx

TOP_DOWN = ("cpm", "heatmap", "litehrnet", "mspn", "rtmpose", "simcc", "swin", "vit")
DETECTORS = ("rtmo", "yoloxpose")
SEVERAL = ("rtmo/3", "yoloxpose/3")  # classes
TOLERANCE = 5e-4


@pytest.fixture(scope="module")
def exported(
    subject: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, str], Any]:
    """Exports a model once per shape mode: (subject, module, graph)."""
    made = {}

    def get(name: str, shape_mode: str) -> Any:
        if (name, shape_mode) not in made:
            it = subject(name)
            deploy = it.deploy_config(shape_mode)
            module = it.exportable(deploy)
            path = tmp_path_factory.mktemp("onnx") / f"{shape_mode}.onnx"
            made[name, shape_mode] = (it, module, export_onnx(module, deploy, path))
        return made[name, shape_mode]

    return get


def _dims(value: Any) -> list[Any]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("shape_mode", ["static", "dynamic"])
@pytest.mark.parametrize("name", TOP_DOWN + DETECTORS)
def test_the_file_keeps_the_contract(
    exported: Callable[[str, str], Any], name: str, shape_mode: str
) -> None:
    it, module, graph = exported(name, shape_mode)
    proto = onnx.load(str(graph.path))
    onnx.checker.check_model(str(graph.path), full_check=True)
    assert [(e.domain, e.version) for e in proto.opset_import] == [("", 17)]
    assert (graph.opset, graph.ir_version, proto.ir_version) == (17, 8, 8)
    batch = "batch" if shape_mode == "dynamic" else 1
    assert [v.name for v in proto.graph.input] == ["input"]
    assert _dims(proto.graph.input[0]) == [batch, 3, it.size[1], it.size[0]]
    assert tuple(v.name for v in proto.graph.output) == module.output_names
    for value in proto.graph.output:
        assert _dims(value)[0] == batch
        assert all(isinstance(size, int) and size > 0 for size in _dims(value)[1:])
    assert [path.name for path in graph.path.parent.iterdir()] == [graph.path.name]


@pytest.mark.parametrize("shape_mode", ["static", "dynamic"])
@pytest.mark.parametrize("name", TOP_DOWN + DETECTORS)
def test_the_graph_is_clean(
    exported: Callable[[str, str], Any], name: str, shape_mode: str
) -> None:
    _, _, graph = exported(name, shape_mode)
    proto = onnx.load(str(graph.path))
    assert not {"Identity", "Constant", "Dropout", "If", "Loop"} & set(graph.nodes)
    assert sum(graph.nodes.values()) == len(proto.graph.node)
    assert {node.domain for node in proto.graph.node} == {""}
    names = [node.name for node in proto.graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert not proto.functions
    assert not proto.graph.value_info
    notes = [proto.doc_string, proto.graph.doc_string, *(n.doc_string for n in proto.graph.node)]
    assert not any(notes)
    assert not proto.metadata_props
    used = {name for node in proto.graph.node for name in node.input}
    assert {tensor.name for tensor in proto.graph.initializer} <= used
    assert all(
        node.op_type != "BatchNormalization" or len(node.output) == 1 for node in proto.graph.node
    )


def test_every_shape_can_be_inferred(exported: Callable[[str, str], Any]) -> None:
    """Only the number of rows that NMS selects is unknown before the run."""
    _, _, graph = exported("rtmpose", "dynamic")
    proto = onnx.load(str(graph.path))
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    assert all(
        _dims(value)[0] == "batch" for value in inferred.graph.value_info if len(_dims(value)) == 4
    )


@pytest.mark.parametrize("name", TOP_DOWN)
def test_static_numbers_are_pytorchs(
    exported: Callable[[str, str], Any], run_graph: Callable[..., Any], name: str
) -> None:
    it, module, graph = exported(name, "static")
    image = it.image(1)
    with torch.no_grad():
        expected = module.network(image)
    for made, truth in zip(run_graph(graph.path, image), expected, strict=True):
        assert truth.std() > 0.05
        np.testing.assert_allclose(made, truth.numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("name", TOP_DOWN)
def test_dynamic_numbers_are_pytorchs_at_any_batch(
    exported: Callable[[str, str], Any], run_graph: Callable[..., Any], name: str, batch: int
) -> None:
    it, module, graph = exported(name, "dynamic")
    image = it.image(batch)
    with torch.no_grad():
        expected = module.network(image)
    for made, truth in zip(run_graph(graph.path, image), expected, strict=True):
        assert made.shape == tuple(truth.shape)
        np.testing.assert_allclose(made, truth.numpy(), atol=TOLERANCE)


@pytest.mark.parametrize("batch", [1, 2, 3])
@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_people_are_mmposes_at_any_batch(
    exported: Callable[[str, str], Any],
    run_graph: Callable[..., Any],
    assert_same_people: Callable[..., None],
    name: str,
    batch: int,
) -> None:
    it, _, graph = exported(name, "dynamic" if batch > 1 else "static")
    assert it.size[0] > it.size[1]  # a square would hide swapped sides
    image = it.image(batch)
    dets, keypoints = run_graph(graph.path, image)
    assert dets.dtype == keypoints.dtype == np.float32
    expected = it.predict(image)
    assert min(len(one.bboxes) for one in expected) > 2
    for row, one in enumerate(expected):
        assert_same_people(dets[row], keypoints[row], one)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_batch_equals_its_parts(
    exported: Callable[[str, str], Any], run_graph: Callable[..., Any], name: str
) -> None:
    it, _, graph = exported(name, "dynamic")
    image = it.image(3, seed=5)
    together = run_graph(graph.path, image)
    for row in range(3):
        alone = run_graph(graph.path, image[row : row + 1])
        for whole, part in zip(together, alone, strict=True):
            np.testing.assert_allclose(whole[row], part[0], atol=0.1)


@pytest.mark.parametrize(("name", "shape_mode"), [("rtmo", "static"), ("yoloxpose", "dynamic")])
def test_nobody_gives_zeros_and_no_crash(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    tmp_path: Path,
    name: str,
    shape_mode: str,
) -> None:
    it = subject(name)
    deploy = it.deploy_config(shape_mode)
    graph = export_onnx(it.exportable(deploy, score_thr=0.9999), deploy, tmp_path / "none.onnx")
    for made in run_graph(graph.path, it.image(1)):
        assert not made.any()
        assert not np.signbit(made).any()


def test_one_image_with_nobody_leaves_the_others_alone(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    assert_same_people: Callable[..., None],
    tmp_path: Path,
) -> None:
    it = subject("rtmo")
    image = it.image(6)
    best = [one.bbox_scores.max() for one in it.predict(image)]
    lowest = int(np.argmin(best))
    threshold = float(np.sort(best)[:2].mean())  # one image has nobody above it
    deploy = it.deploy_config("dynamic")
    module = it.exportable(deploy, score_thr=threshold)
    graph = export_onnx(module, deploy, tmp_path / "some.onnx")
    dets, keypoints = run_graph(graph.path, image)
    assert not dets[lowest].any()
    assert dets.any(axis=(1, 2)).sum() == 5
    for row, one in enumerate(it.predict(image, score_thr=threshold)):
        assert_same_people(dets[row], keypoints[row], one)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_graph_pre_selects_and_pads(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    assert_same_people: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    it = subject(name)
    image = it.image(2)
    deploy = it.deploy_config("dynamic", nms=NmsSettings(0.3, 0.65, 200, 12, 40))
    graph = export_onnx(it.exportable(deploy), deploy, tmp_path / "small.onnx")
    dets, keypoints = run_graph(graph.path, image)
    assert dets.shape == (2, 40, 5)
    for row, one in enumerate(it.predict(image, nms_pre=12)):
        assert_same_people(dets[row], keypoints[row], one)


@pytest.mark.parametrize("stage", ["dense", "raw"])
@pytest.mark.parametrize("name", DETECTORS + SEVERAL)
def test_other_stages_export_as_well(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    tmp_path: Path,
    name: str,
    stage: str,
) -> None:
    it = subject(name)
    deploy = it.deploy_config("static")
    module = it.exportable(deploy, stage)
    graph = export_onnx(module, deploy, tmp_path / "stage.onnx")
    assert "NonMaxSuppression" not in graph.nodes
    outputs = onnx.load(str(graph.path)).graph.output
    assert tuple(value.name for value in outputs) == module.output_names
    image = it.image(1)
    with torch.no_grad():
        expected = module.network(image)
    for made, truth in zip(run_graph(graph.path, image), expected, strict=True):
        limit = TOLERANCE if stage == "raw" else 0.1
        np.testing.assert_allclose(made, truth.numpy(), atol=limit)


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["litehrnet", "rtmo"])
def test_the_same_model_gives_the_same_bytes(
    subject: Callable[[str], Any], exported: Callable[[str, str], Any], tmp_path: Path, name: str
) -> None:
    it, _, graph = exported(name, "dynamic")
    deploy = it.deploy_config("dynamic")
    again = export_onnx(it.exportable(deploy), deploy, tmp_path / "elsewhere.onnx")
    assert _sha(again.path) == _sha(graph.path)


@pytest.mark.parametrize(("name", "opset"), [("rtmo", 11), ("rtmpose", 13), ("rtmo", 18)])
def test_another_opset_is_written_when_asked_for(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    tmp_path: Path,
    name: str,
    opset: int,
) -> None:
    it = subject(name)
    deploy = it.deploy_config("dynamic", opset=opset)
    module = it.exportable(deploy)
    graph = export_onnx(module, deploy, tmp_path / "model.onnx")
    assert graph.opset == opset
    assert graph.ir_version <= 8
    image = it.image(2)
    with torch.no_grad():
        expected = module.network(image)
    for made, truth in zip(run_graph(graph.path, image), expected, strict=True):
        np.testing.assert_allclose(made, truth.numpy(), atol=0.1)


def test_names_are_the_deploy_configs(subject: Callable[[str], Any], tmp_path: Path) -> None:
    it = subject("simcc")
    deploy = it.deploy_config(
        "dynamic", input_names=("image",), output_names=("across", "down"), name=None
    )
    graph = export_onnx(it.exportable(deploy), deploy, tmp_path / "model.onnx")
    proto = onnx.load(str(graph.path))
    assert [value.name for value in proto.graph.input] == ["image"]
    assert [value.name for value in proto.graph.output] == ["across", "down"]
    assert _dims(proto.graph.output[0]) == ["batch", 17, 128]


def test_an_exporter_of_another_name_is_refused(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    it = subject("simcc")
    deploy = it.deploy_config()
    with pytest.raises(BadInputError, match="dynamo, torchscript"):
        export_onnx(it.exportable(deploy), deploy, tmp_path / "model.onnx", "magic")


class _Unexportable(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.linalg.eigvals(image[..., :16, :16]).abs(),)


def test_what_cannot_be_exported_is_a_typed_error(
    subject: Callable[[str], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    it = subject("heatmap")
    deploy = it.deploy_config()
    module = dataclasses.replace(it.exportable(deploy), network=_Unexportable())
    with pytest.raises(ConversionError, match="--exporter dynamo") as caught:
        export_onnx(module, deploy, tmp_path / "model.onnx")
    assert caught.value.stage == "export"
    assert list(tmp_path.iterdir()) == []
    shown = capfd.readouterr()
    assert "aten::" not in shown.out + shown.err


class _Unrunnable(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (torch.nn.functional.conv2d(image, torch.ones(8, 1, 3, 3)),)  # of one channel


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_no_exporter_is_blamed_for_a_model_that_does_not_run(
    subject: Callable[[str], Any], tmp_path: Path, exporter: str
) -> None:
    it = subject("heatmap")
    deploy = it.deploy_config()
    module = dataclasses.replace(it.exportable(deploy), network=_Unrunnable())
    with pytest.raises(ConversionError, match=r"run by PyTorch on .* no exporter can help") as e:
        export_onnx(module, deploy, tmp_path / "model.onnx", exporter)
    assert "--exporter" not in str(e.value)


def test_a_graph_that_breaks_the_contract_is_not_written(
    subject: Callable[[str], Any], tmp_path: Path
) -> None:
    def exporter(module: object, example: torch.Tensor, opset: int, dynamic_batch: bool) -> Any:
        shape = list(example.shape)
        info = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)
        out = onnx.helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, shape)
        node = onnx.helper.make_node("Focus", ["input"], ["output"], domain="mmdeploy")
        graph = onnx.helper.make_graph([node], "g", [info], [out])
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])

    it = subject("heatmap")
    deploy = it.deploy_config()
    with pytest.raises(ConversionError, match="operator domain mmdeploy"):
        export_onnx(
            it.exportable(deploy),
            deploy,
            tmp_path / "model.onnx",
            exporters={"torchscript": exporter},
        )
    assert list(tmp_path.iterdir()) == []
