"""The dynamo exporter keeps the same contract, on the models that it exports fastest."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import export_onnx
from posedeploy.export.graph import tensor_infos


def _exported(it: Any, folder: Path, shape_mode: str, **changes: Any) -> tuple[Any, Any]:
    deploy = it.deploy_config(shape_mode, **changes)
    module = it.exportable(deploy)
    return module, export_onnx(module, deploy, folder / "dynamo.onnx", "dynamo")


def _assert_contract(graph: Any, module: Any, batch: int | str) -> None:
    proto = onnx.load(str(graph.path))
    onnx.checker.check_model(str(graph.path), full_check=True)
    assert (graph.exporter, graph.ir_version) == ("dynamo", 8)
    inputs, outputs = tensor_infos(proto.graph.input), tensor_infos(proto.graph.output)
    assert [info.name for info in inputs] == ["input"]
    assert tuple(info.name for info in outputs) == module.output_names
    for info in (*inputs, *outputs):
        assert info.shape[0] == batch
        assert all(isinstance(size, int) for size in info.shape[1:])
    assert not {"Identity", "Constant", "Dropout"} & set(graph.nodes)
    assert {node.domain for node in proto.graph.node} == {""}
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    assert not proto.functions
    assert not proto.graph.value_info
    assert b"site-packages" not in graph.path.read_bytes()


def test_heatmaps(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
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


@pytest.mark.parametrize("name", ["litehrnet", "swin"])
def test_a_dynamic_batch(
    subject: Callable[[str], Any], run_graph: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    it = subject(name)
    module, graph = _exported(it, tmp_path, "dynamic")
    assert graph.opset == 17
    _assert_contract(graph, module, "batch")
    for batch in (1, 2, 3, 4):
        image = it.image(batch)
        with torch.no_grad():
            expected = it.model.head(it.model.extract_feat(image))
        np.testing.assert_allclose(run_graph(graph.path, image)[0], expected, atol=5e-4)


@pytest.mark.parametrize("name", ["rtmo", "rtmo/3"])
def test_people_and_nobody(
    subject: Callable[[str], Any],
    run_graph: Callable[..., Any],
    assert_same_people: Callable[..., None],
    tmp_path: Path,
    name: str,
) -> None:
    it = subject(name)
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


def test_an_opset_below_17_is_refused(subject: Callable[[str], Any], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--exporter torchscript"):
        _exported(subject("heatmap"), tmp_path, "static", opset=11)
    assert list(tmp_path.iterdir()) == []


class _Branches(torch.nn.Module):
    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (image + 1,) if image.sum() > 0 else (image,)


def test_what_cannot_be_exported_is_a_typed_error(
    subject: Callable[[str], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    it = subject("heatmap")
    deploy = it.deploy_config()
    module = dataclasses.replace(it.exportable(deploy), network=_Branches())
    with pytest.raises(ConversionError, match="--exporter torchscript") as caught:
        export_onnx(module, deploy, tmp_path / "model.onnx", "dynamo")
    assert "\x1b" not in str(caught.value)
    assert "GraphModule" not in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
