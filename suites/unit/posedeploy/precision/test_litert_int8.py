"""int8 and float16 weights for LiteRT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fixtures.litert_files import SHAPE, LiteRtFile
from posedeploy.convert.litert import run_once, weight_precision
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.precision.litert_int8 import (
    float_operators,
    halve_weights,
    quantize_litert,
    ranges,
)
from posedeploy.runtime import SessionOptions, get_runtime
from posedeploy.runtime.litert import Graph, Operator, Tensor, read_graph
from posedeploy.runtime.quantized.litert import measure

IMAGES = np.random.default_rng(1).random((6, *SHAPE), np.float32)


def images(factor: float = 1.0) -> CalibrationSet:
    return CalibrationSet("noise", len(IMAGES), lambda: iter(IMAGES * np.float32(factor)))


def test_int8_keeps_the_last_layer_and_its_noise_is_that_of_eight_bits(
    litert_file: LiteRtFile, tmp_path: Path
) -> None:
    path = tmp_path / "end2end.tflite"
    done = quantize_litert(litert_file.path, path, images(), ("output",))
    assert len(done.layers) == 2, "of three convolutions"
    assert "last layers" in done.kept.values()
    assert weight_precision(path) == "int8"
    assert run_once(path, "int8").outputs[0].shape == litert_file.output.shape
    session = get_runtime("litert").load([path], "cpu", SessionOptions("int8"))
    got = session.run({"input": litert_file.image})["output"]
    error = np.abs(got - litert_file.output).max() / np.abs(litert_file.output).max()
    assert 1e-4 < error < 0.05
    found = measure([str(path)], [str(litert_file.path)], IMAGES[:, 0])
    assert (len(found.layers), found.multiplying) == (2, 3)
    assert 30 < found.layers[0].sqnr_db < 60


def test_ranges_that_are_too_small_are_seen_in_the_layers(
    litert_file: LiteRtFile, tmp_path: Path
) -> None:
    path = tmp_path / "end2end.tflite"
    quantize_litert(litert_file.path, path, images(0.25), ("output",))
    assert measure([str(path)], [str(litert_file.path)], IMAGES[:, 0]).layers[0].sqnr_db < 20


def test_a_layer_that_the_float_file_lacks_is_an_error(
    litert_file: LiteRtFile, tmp_path: Path
) -> None:
    path = tmp_path / "end2end.tflite"
    quantize_litert(litert_file.path, path, images(), ("output",))
    other = litert_file.path.read_bytes().replace(b"Named", b"Other")
    (tmp_path / "other.tflite").write_bytes(other)
    with pytest.raises(ValueError, match="the float32 file has no tensor"):
        measure([str(path)], [str(tmp_path / "other.tflite")], IMAGES[:1, 0])


def test_ranges_go_from_the_smallest_to_the_largest_value_of_all_images(
    litert_file: LiteRtFile,
) -> None:
    graph = read_graph(litert_file.path)
    found = ranges(litert_file.path, graph, images())
    given = found[graph.tensors[0].name]
    assert (given["min"].shape, given["min"].dtype.name) == ((1, 1, 1, 1), "float32")
    assert (given["min"].item(), given["max"].item()) == (IMAGES.min(), IMAGES.max())


def test_a_tensor_that_is_always_zero_has_a_range(litert_file: LiteRtFile) -> None:
    """XNNPACK refuses a file with a scale of almost 0: 'failed to prepare' (LiteHRNet)."""
    graph = read_graph(litert_file.path)
    given = ranges(litert_file.path, graph, images(0.0))[graph.tensors[0].name]
    assert (given["min"].item(), given["max"].item()) == (0.0, 1.0)


def test_halved_weights_round_and_compute_in_float32(
    litert_file: LiteRtFile, tmp_path: Path
) -> None:
    path = tmp_path / "end2end.tflite"
    halve_weights(litert_file.path, path)
    assert weight_precision(path) == "fp16"
    session = get_runtime("litert").load([path], "cpu", SessionOptions("fp16"))
    assert session.effective_options["inference_precision"] == "fp32"
    error = np.abs(session.run({"input": litert_file.image})["output"] - litert_file.output).max()
    assert 1e-6 < error < 1e-3


def graph_of(*lines: tuple[str, tuple[int, ...], int], outputs: tuple[int, ...]) -> Graph:
    """A graph of operators, each with one output; tensor 0 is the image, 1 a weight."""
    count = max(output for _, _, output in lines) + 1
    tensors = tuple(Tensor(f"t{i}", "FLOAT32", (1,), 4 * (i == 1)) for i in range(count))
    return Graph(tensors, tuple(Operator(k, i, (o,)) for k, i, o in lines), outputs)


def test_of_a_top_down_model_what_follows_the_last_layer_stays_in_float32() -> None:
    graph = graph_of(
        ("CONV_2D", (0, 1), 2), ("MUL", (2, 2), 3), ("SUM", (3, 1), 4), ("DIV", (2, 4), 5),
        ("FULLY_CONNECTED", (5, 1), 6), ("RESHAPE", (6, 1), 7), outputs=(7,),
    )  # fmt: skip
    kept = float_operators(graph, detector=False)
    assert kept == {
        1: "norms and divisions", 2: "norms and divisions", 3: "norms and divisions",
        4: "last layers", 5: "decode",
    }  # fmt: skip


def test_of_a_detector_linear_layers_behind_the_last_convolution_are_its_decode() -> None:
    graph = graph_of(
        ("CONV_2D", (0, 1), 2), ("CONV_2D", (2, 1), 3), ("FULLY_CONNECTED", (3, 1), 4),
        outputs=(4,),
    )  # fmt: skip
    assert float_operators(graph, detector=True) == {1: "last layers", 2: "decode"}
    assert float_operators(graph, detector=False) == {2: "last layers"}


def test_the_depthwise_convolution_two_before_the_last_stays_in_float32() -> None:
    graph = graph_of(
        ("DEPTHWISE_CONV_2D", (0, 1), 2), ("CONV_2D", (2, 1), 3), ("CONV_2D", (3, 1), 4),
        outputs=(4,),
    )  # fmt: skip
    part = "LiteHRNet's last depthwise convolution"
    assert float_operators(graph, detector=False) == {0: part, 2: "last layers"}
