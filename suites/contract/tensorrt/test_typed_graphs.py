"""The graphs that TensorRT is given in fp16 and int8, run on ONNX Runtime.

What a device would compute from them is the same graph in the same types, so what is wrong with
them shows here.  Weights are calibrated, not fitted: such networks amplify noise, so int8 is
looked at layer by layer, each layer's rounding against its own signal where it enters.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from posedeploy.apis.exporting import export
from posedeploy.apis.sources import resolve_checkpoint, resolve_model_config
from posedeploy.config import (
    CalibrationSettings,
    ModelConfig,
    load_deploy_config,
    load_model_config,
)
from posedeploy.convert.tensorrt import obstacles, typed_graph
from posedeploy.precision.images import calibration_set

# Small model of a family -> its deploy config, without the precision
MODELS = {
    "hourglass52": "{}_static-256x256",
    "litehrnet_18": "{}_static-256x192",
    "rtmo_t": "rtmo_{}_static-416x416",
    "rtmpose_t": "simcc_{}_static-256x192",
    "simcc_mobilenetv2": "simcc_{}_static-256x192",
    "yoloxpose_tiny": "yolox-pose_{}_static-416x416",
}
IMAGES = 8  # to calibrate on; a deployment takes 32
# Of an output's largest value: autocast to fp16 is off by 1e-2 at most (see `tolerance`)
FP16_ERROR = 2e-2
# A tensor in 8 bits with one range for all of it: 24 to 39 dB were measured layer by layer
WORST_LAYER_DB = 10.0
MEDIAN_LAYER_DB = 25.0


@dataclass(frozen=True)
class Network:
    """An exported model.

    Attributes:
        config: Its MMPose config.
        ir: The float32 graph.
        image: An input that calibration has not seen, `[1, 3, H, W]`.
    """

    config: ModelConfig
    ir: Path
    image: NDArray[np.float32]


@pytest.fixture(scope="module", params=MODELS)
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Each model, exported as its fp32 flow is."""
    name = str(request.param)
    config = load_model_config(resolve_model_config(name))
    checkpoint = resolve_checkpoint(name, None)
    folder = tmp_path_factory.mktemp(name)
    deploy = load_deploy_config(deploy_config(name, "tensorrt"))
    done = export(config, checkpoint, deploy, folder)
    # mirrored, a drawn figure is another image
    image = next(iter(calibration_set(config).inputs()))[..., ::-1].copy()
    return Network(config, done.path, image)


def deploy_config(model: str, flow: str) -> str:
    """The name of a model's deploy config."""
    return f"pose-detection_{MODELS[model].format(flow)}"


def run(graph: Path, feed: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """All outputs, computed as the graph defines: fusions would skip the rounding of a pair."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": feed}), strict=True))


def decibels(signal: NDArray[Any], found: NDArray[Any]) -> float:
    """Signal to quantization noise."""
    noise = float(np.sum((found.astype(np.float64) - signal) ** 2))
    return 10 * float(np.log10(np.sum(signal.astype(np.float64) ** 2) / noise)) if noise else 99.0


def test_fp16_is_what_fp32_is_but_for_rounding(
    network: Network, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["network"]
    deploy = load_deploy_config(deploy_config(name, "tensorrt-fp16"))
    path, _ = typed_graph(network.ir, deploy, tmp_path)
    model = onnx.load(path)
    assert list(obstacles(model)) == []
    halves = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert len(halves) > 10, "it is float32"
    truth, found = run(network.ir, network.image), run(path, network.image)
    assert set(found) == set(truth)
    for output, values in truth.items():
        assert found[output].dtype == np.float32
        error = np.abs(found[output] - values).max() / np.abs(values).max()
        assert 0 < error < FP16_ERROR, (output, error)


def test_int8_rounds_every_layer_by_no_more_than_its_steps(
    network: Network, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["network"]
    deploy = load_deploy_config(deploy_config(name, "tensorrt-int8"))
    images = calibration_set(network.config, CalibrationSettings(count=IMAGES))
    path, recipe = typed_graph(network.ir, deploy, tmp_path, images)
    model = onnx.load(path)
    assert list(obstacles(model)) == []
    assert recipe["quantized_layers"] >= 20
    asymmetric = [n.name for n in quantizers(model) if zero_point(model, n).any()]
    assert asymmetric == []
    measured = rounding(model, tmp_path / "tapped.onnx", network.image)
    assert len(measured) >= 10
    worst = min(measured, key=lambda tensor: measured[tensor])
    assert measured[worst] > WORST_LAYER_DB, (worst, measured[worst])
    assert float(np.median([*measured.values()])) > MEDIAN_LAYER_DB, measured
    for output, values in run(path, network.image).items():
        assert np.isfinite(values).all(), output
        assert values.std() > 0, output


def quantizers(model: Any) -> list[Any]:
    """Nodes that round activations."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in weights
    ]


def zero_point(model: Any, node: Any) -> NDArray[Any]:
    """The zero point of a quantizer."""
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    found: NDArray[Any] = onnx.numpy_helper.to_array(held[node.input[2]])
    return found


def rounding(model: Any, tapped: Path, feed: NDArray[np.float32]) -> dict[str, float]:
    """SQNR in dB of every activation that is rounded: before its pair against behind it."""
    readers = {node.input[0]: node for node in model.graph.node}
    pairs = {node.input[0]: readers[node.output[0]].output[0] for node in quantizers(model)}
    names = {name for pair in pairs.items() for name in pair if name != "input"}
    there = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - there))
    onnx.save(model, tapped)
    values = run(tapped, feed) | {"input": feed}
    return {name: decibels(values[name], values[behind]) for name, behind in pairs.items()}
