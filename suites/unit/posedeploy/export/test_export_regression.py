"""Networks of regression heads: mmpose's coordinates, of every head, in every form of a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from posedeploy.export import export_onnx
from posedeploy.export.regression import Expectation
from posedeploy.heads import KEYPOINTS

NAMES = ("coordinates", "debias", "dsnt", "rle")
Subjects = Callable[[str], Any]


def of_mmpose(it: Any, image: torch.Tensor) -> torch.Tensor:
    """What the head's `forward` returns, without heatmaps."""
    with torch.no_grad():
        out = it.model.head(it.model.extract_feat(image))
    points: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return points


@pytest.mark.parametrize("name", NAMES)
def test_coordinates_are_the_heads(subject: Subjects, name: str) -> None:
    it = subject(name)
    image = it.image(3)
    with torch.no_grad():
        (output,) = it.exportable().network(image)
    expected = of_mmpose(it, image)
    assert output.shape == (3, 17, 4 if name == "rle" else 2)
    assert output.std(dim=0).max() > 1e-4  # they depend on the image
    torch.testing.assert_close(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "exporter"), [("debias", "dynamo"), ("dsnt", "torchscript"), ("rle", "torchscript")]
)
def test_a_graph_takes_batches_that_it_was_not_traced_with(
    subject: Subjects, run_graph: Callable[..., Any], tmp_path: Path, name: str, exporter: str
) -> None:
    it = subject(name)
    deploy = it.deploy_config("dynamic")
    graph = export_onnx(it.exportable(deploy), deploy, tmp_path / "end2end.onnx", exporter)
    for batch in (1, 3):
        image = it.image(batch)
        (output,) = run_graph(graph.path, image)
        np.testing.assert_allclose(output, of_mmpose(it, image), rtol=1e-4, atol=1e-5)


def test_a_graph_that_ends_with_keypoints_has_the_scores_of_predict(
    subject: Subjects, run_graph: Callable[..., Any], tmp_path: Path
) -> None:
    it = subject("rle")
    names = ("keypoints", "scores")
    deploy = it.deploy_config("dynamic", output_names=names, export_postprocess=True)
    graph = export_onnx(it.exportable(deploy, stage=KEYPOINTS), deploy, tmp_path / "end2end.onnx")
    image = it.image(2)
    points, scores = run_graph(graph.path, image)
    with torch.no_grad():
        instances = it.model.head.predict(it.model.extract_feat(image), [], {})
    for i, instance in enumerate(instances):
        np.testing.assert_allclose(points[i], instance.keypoints[0], atol=0.01)
        np.testing.assert_allclose(scores[i], instance.keypoint_scores[0], atol=1e-5)
    assert np.ptp(scores) > 0.01


def test_the_bias_of_large_heatmaps_is_corrected_in_float16() -> None:
    """exp(11.1) is more than float16 holds: mmpose's formula gives NaN there."""
    cells = torch.arange(4.0) / 4
    sizes = {"num_joints": 1, "linspace_x": cells, "linspace_y": cells}
    head = SimpleNamespace(beta=1.0, debias=True, **sizes)
    maps = torch.zeros((1, 1, 4, 4))
    maps[0, 0, 1, 2] = 20
    (point,) = Expectation(head).half()(maps.half())[0]
    assert point.tolist() == pytest.approx([0.5, 0.25], abs=1e-3)
