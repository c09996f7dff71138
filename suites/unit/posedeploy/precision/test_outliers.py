"""Nodes beside tensors with outliers are found, and int8 leaves them in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.small_graphs import noise, simcc_graph
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.float_layers import WEIGHTED
from posedeploy.precision.ncnn_int8 import BlobRange
from posedeploy.precision.outliers import MOST_CREST, OUTLIERS, crest_factors, outlier_nodes
from posedeploy.precision.qdq import BETWEEN, RECIPES, quantize_onnx

OPERATORS = (*WEIGHTED, *BETWEEN)


def with_an_outlier(path: Path, factor: float) -> onnx.ModelProto:
    """A graph whose first convolution gives one value of `factor` at one place of one channel."""
    model = onnx.load(simcc_graph(path))
    (weights,) = (tensor for tensor in model.graph.initializer if tensor.name == "w1")
    values = numpy_helper.to_array(weights).copy()
    values[0] *= factor
    weights.CopyFrom(numpy_helper.from_array(values, "w1"))
    onnx.save(model, path)
    return model


def test_crest_factors_are_those_of_numpy(tmp_path: Path) -> None:
    model, images = with_an_outlier(tmp_path / "a.onnx", 1.0), noise(3)
    found = crest_factors(model, images, ["a", "b"])
    (first, *_) = images.inputs()
    assert set(found) == {"a", "b"}
    assert found["b"] > found["a"] > 1  # ReLU makes half of the values 0
    assert first.shape[0] == 1
    doubled = with_an_outlier(tmp_path / "b.onnx", 30.0)
    assert crest_factors(doubled, images, ["a"])["a"] > 1.5 * found["a"]


def test_nodes_that_read_or_write_outliers_are_named(tmp_path: Path) -> None:
    plain, images = with_an_outlier(tmp_path / "a.onnx", 1.0), noise(3)
    most = 1.2 * max(crest_factors(plain, images, ["a", "b"]).values())
    assert not {"conv1", "relu"} & outlier_nodes(plain, images, OPERATORS, most).keys()
    named = outlier_nodes(with_an_outlier(tmp_path / "b.onnx", 30.0), images, OPERATORS, most)
    assert {"conv1", "relu", "conv2"} <= named.keys()
    assert set(named.values()) == {OUTLIERS}
    assert "relu" not in outlier_nodes(plain, images, ("Conv",), 0.0)


def test_int8_leaves_them_in_float32(tmp_path: Path) -> None:
    """One bright pixel in a dark image is 128 times the root mean square of what it gives."""
    node, size = helper.make_node, (1, 3, 128, 128)
    weights = {"w1": (8, 3, 1, 1), "w2": (8, 8, 1, 1), "w3": (4, 8, 1, 1)}
    graph = helper.make_graph(
        [
            node("Conv", ["input", "w1"], ["a"], "reads_the_pixel"),
            node("InstanceNormalization", ["a", "ones", "zeros"], ["b"], "norm"),
            node("Sigmoid", ["b"], ["c"], "sigmoid"),
            node("Conv", ["c", "w2"], ["d"], "reads_no_outlier"),
            node("Conv", ["d", "w3"], ["heatmaps"], "last"),
        ],
        "pixel",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, (1, 4, 128, 128))],
        [
            *(numpy_helper.from_array(np.full(s, 0.5, np.float32), n) for n, s in weights.items()),
            numpy_helper.from_array(np.ones(8, np.float32), "ones"),
            numpy_helper.from_array(np.zeros(8, np.float32), "zeros"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "a.onnx")
    image = np.zeros(size, np.float32)
    image[..., 5, 5] = 1.0
    images = CalibrationSet("a pixel", 2, lambda: iter([image, image]))
    done = quantize_onnx(tmp_path / "a.onnx", tmp_path / "q.onnx", images, RECIPES["onnxruntime"])
    assert done.kept["reads_the_pixel"] == OUTLIERS
    assert done.layers == ("reads_no_outlier",)
    assert MOST_CREST < 128


def test_the_range_of_a_blob_is_over_all_runs() -> None:
    values = BlobRange()
    for array in (np.array([1.0, -3.0]), np.array([1.0, 1.0])):
        values.add(array)
    assert values.largest == 3
    assert values.crest == pytest.approx(3 / np.sqrt((1 + 9 + 1 + 1) / 4))
