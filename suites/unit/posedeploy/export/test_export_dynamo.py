"""The dynamo exporter keeps the same contract, on the models that it exports fastest."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch

from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import export_onnx


def _exported(it, folder, shape_mode, **changes):
    deploy = it.deploy_config(shape_mode, **changes)
    module = it.exportable(deploy)
    return module, export_onnx(module, deploy, folder / "dynamo.onnx", "dynamo")


def _assert_contract(graph, module, batch):
    proto = onnx.load(str(graph.path))
    onnx.checker.check_model(str(graph.path), full_check=True)
    assert (graph.exporter, graph.ir_version) == ("dynamo", 8)
    assert [info.name for info in graph.inputs] == ["input"]
    assert tuple(info.name for info in graph.outputs) == module.output_names
    for info in (*graph.inputs, *graph.outputs):
        assert info.shape[0] == batch
        assert all(isinstance(size, int) for size in info.shape[1:])
    assert not {"Identity", "Constant", "Dropout"} & set(graph.nodes)
    assert {node.domain for node in proto.graph.node} == {""}
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    assert not proto.functions
    assert not proto.graph.value_info
    assert b"site-packages" not in graph.path.read_bytes()


def test_heatmaps(subject, run_graph, tmp_path, capfd):
    it = subject("heatmap")
    module, graph = _exported(it, tmp_path, "static", opset=18)
    assert graph.opset == 18
    _assert_contract(graph, module, 1)
    image = it.image(1)
    with torch.no_grad():
        (expected,) = module.network(image)
    np.testing.assert_allclose(run_graph(graph.path, image)[0], expected, atol=5e-4)
    shown = capfd.readouterr()
    assert shown.out + shown.err == ""


def test_litehrnet_with_a_dynamic_batch(subject, run_graph, tmp_path):
    it = subject("litehrnet")
    module, graph = _exported(it, tmp_path, "dynamic")
    assert graph.opset == 17
    _assert_contract(graph, module, "batch")
    for batch in (1, 2, 3):
        image = it.image(batch)
        with torch.no_grad():
            (expected,) = module.network(image)
        np.testing.assert_allclose(run_graph(graph.path, image)[0], expected, atol=5e-4)


def test_people_and_nobody(subject, run_graph, assert_same_people, tmp_path):
    it = subject("rtmo")
    image = it.image(6)
    best = [one.bbox_scores.max() for one in it.predict(image)]
    lowest, threshold = int(np.argmin(best)), float(np.sort(best)[:2].mean())
    deploy = it.deploy_config("dynamic")
    module = it.exportable(deploy, score_thr=threshold)
    graph = export_onnx(module, deploy, tmp_path / "dynamo.onnx", "dynamo")
    _assert_contract(graph, module, "batch")
    assert graph.opset == 17
    assert graph.nodes["NonMaxSuppression"] == 1
    dets, keypoints = run_graph(graph.path, image)
    assert dets.any(axis=(1, 2)).sum() == 5
    for row, one in enumerate(it.predict(image, score_thr=threshold)):
        assert_same_people(dets[row], keypoints[row], one)
    for made in run_graph(graph.path, image[lowest : lowest + 1]):
        assert not made.any()


def test_an_opset_below_17_is_refused(subject, tmp_path):
    with pytest.raises(BadInputError, match="--exporter torchscript"):
        _exported(subject("heatmap"), tmp_path, "static", opset=11)
    assert list(tmp_path.iterdir()) == []


class _Branches(torch.nn.Module):
    def forward(self, image):
        return (image + 1,) if image.sum() > 0 else (image,)


def test_what_cannot_be_exported_is_a_typed_error(subject, tmp_path, capfd):
    it = subject("heatmap")
    deploy = it.deploy_config()
    module = dataclasses.replace(it.exportable(deploy), network=_Branches())
    with pytest.raises(ConversionError, match="--exporter torchscript") as caught:
        export_onnx(module, deploy, tmp_path / "model.onnx", "dynamo")
    assert "\x1b" not in str(caught.value)
    assert "GraphModule" not in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
