"""The codecs' decoding in a graph: mmpose's keypoints and scores, at every edge of a map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from posedeploy.codecs import CODECS
from posedeploy.compat import install
from posedeploy.export import export_onnx
from posedeploy.export.decoding import Coordinates, HeatmapPeaks, SimccPeaks, decoding
from posedeploy.heads import KEYPOINTS

NAMES = ("keypoints", "scores")


def mmpose_codec(**config: Any) -> Any:
    install()
    import mmpose.codecs  # noqa: F401  fills the registry
    from mmpose.registry import KEYPOINT_CODECS

    return KEYPOINT_CODECS.build(config)


def assert_decodes(module: Any, codec: Any, outputs: tuple[np.ndarray, ...]) -> None:
    points, scores = module(*map(torch.from_numpy, outputs))
    assert points.dtype == scores.dtype == torch.float32
    for i, sample in enumerate(zip(*outputs, strict=True)):
        expected = codec.decode(*(array.copy() for array in sample))
        np.testing.assert_allclose(points[i].numpy(), expected[0][0], rtol=1e-6, atol=1e-5)
        np.testing.assert_array_equal(scores[i].numpy(), np.reshape(expected[1], -1))


@pytest.mark.parametrize("ratio", [1.0, 2.0, 3.0])
def test_simcc_peaks_are_mmposes(ratio: float) -> None:
    config = {"input_size": (48, 64), "simcc_split_ratio": ratio}
    rng = np.random.default_rng(3)
    x, y = (rng.normal(0, 1, (2, 40, int(side * ratio))) for side in (48, 64))
    x[0, :3] = -1  # no peak
    y[1, 3:5, 7] = y[1, 3:5, 9] = 30  # of equal ones the first
    outputs = (x.astype(np.float32), y.astype(np.float32))
    assert_decodes(
        SimccPeaks(config), mmpose_codec(type="SimCCLabel", sigma=6.0, **config), outputs
    )


def test_heatmap_peaks_are_mmposes_in_every_cell() -> None:
    """A peak in each cell, at an edge and in a corner too, with neighbors of either order."""
    width, height = 9, 7
    config = {"input_size": (36, 35), "heatmap_size": (width, height)}
    rng = np.random.default_rng(4)
    maps = (0.1 + rng.random((2, width * height + 2, height, width))).astype(np.float32)
    for cell in range(width * height):
        maps[:, cell, cell // width, cell % width] = 2
    maps[:, -2] = -maps[:, 30]  # no peak, though the largest cell has neighbors
    maps[:, -1] = 0.5  # flat
    codec = mmpose_codec(type="MSRAHeatmap", sigma=2, **config)
    assert_decodes(HeatmapPeaks(config), codec, (maps,))


def test_places_beyond_float16s_integers_are_exact() -> None:
    """float16 holds 2047 and 2048, but not 2049: with a ratio of 2 a width of 1024 px and more."""
    x = torch.zeros((1, 3, 4096), dtype=torch.float16)
    places = [2049, 3071, 4095]
    x[0, range(3), places] = 1
    points, _ = SimccPeaks({"simcc_split_ratio": 2.0})(x, x)
    assert points[0, :, 0].tolist() == [place / 2 for place in places]


def test_every_codec_that_a_graph_can_decode_has_a_module(
    subject: Callable[[str], Any],
) -> None:
    able = {row.type for row in CODECS if row.in_graph}
    assert able == {"MSRAHeatmap", "RegressionLabel", "SimCCLabel"}
    assert isinstance(decoding(subject("rle").config), Coordinates)
    assert isinstance(decoding(subject("simcc").config), SimccPeaks)
    assert isinstance(decoding(subject("heatmap").config), HeatmapPeaks)
    megvii = dataclasses.replace(subject("heatmap").config, codec={"type": "MegviiHeatmap"})
    with pytest.raises(KeyError, match="MegviiHeatmap"):
        decoding(megvii)


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("shape_mode", ["static", "dynamic"])
@pytest.mark.parametrize("name", ["cpm", "heatmap", "rtmpose", "simcc"])
def test_the_graph_finds_what_the_heads_codec_finds(
    subject: Callable[[str], Any], tmp_path: Path, name: str, shape_mode: str, exporter: str
) -> None:
    it = subject(name)
    deploy = it.deploy_config(shape_mode, output_names=NAMES, export_postprocess=True)
    module = it.exportable(deploy, stage=KEYPOINTS)
    graph = export_onnx(module, deploy, tmp_path / "end2end.onnx", exporter)
    session = onnxruntime.InferenceSession(str(graph.path))
    assert [output.name for output in session.get_outputs()] == list(NAMES)
    image = it.image(3 if shape_mode == "dynamic" else 1)
    points, scores = session.run(None, {"input": image.numpy()})
    with torch.no_grad():
        out = it.model.head(it.model.extract_feat(image))
    if name in {"cpm", "heatmap"}:
        out = out[-1] if isinstance(out, list) else out
    instances = it.model.head.decode(out)
    assert points.shape == (len(image), 17, 2)
    assert scores.shape == (len(image), 17)
    for i, instance in enumerate(instances):
        np.testing.assert_allclose(points[i], instance.keypoints[0], atol=0.01)
        np.testing.assert_allclose(scores[i], instance.keypoint_scores[0], atol=1e-4)
