"""OpenVINO: compressed weights, what is computed in, and NNCF's int8."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fixtures.small_graphs import detector_graph, noise, simcc_graph
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.convert.openvino import weight_precision
from posedeploy.errors import BadInputError, ConversionError, UnavailableError
from posedeploy.precision import openvino_int8
from posedeploy.precision.openvino_int8 import quantize_openvino, quantized_layers
from posedeploy.runtime import PrecisionError, SessionOptions, get_runtime, probe_on

ov = pytest.importorskip("openvino")
pytest.importorskip("nncf")

FILES = ("end2end.xml", "end2end.bin")


def config(precision: str, **backend: str) -> DeployConfig:
    found = load_deploy_config("pose-detection_simcc_openvino-int8_static-256x192")
    section = {"type": "openvino", "precision": precision, **backend}
    return dataclasses.replace(found, precision=precision, raw={"backend_config": section})


def convert(
    folder: Path, precision: str, graph: Callable[[Path], Path] = simcc_graph, **backend: str
) -> tuple[Any, list[Path]]:
    out = folder / f"{precision}{''.join(backend.values())}"
    out.mkdir()
    calibration = noise(0) if precision == "int8" else None
    found = config(precision, **backend)
    ir = graph(folder / "m.onnx")
    done = get_converter("openvino", precision).convert(ir, found, out, calibration)
    return done, [out / name for name in FILES]


def run(files: list[Path], precision: str, output: str, **extra: str) -> np.ndarray:
    session = get_runtime("openvino").load(files, "cpu", SessionOptions(precision, extra=extra))
    return np.concatenate([session.run({"input": x})[output] for x in noise(99).inputs()])


def sqnr(truth: np.ndarray, found: np.ndarray) -> float:
    error = ((truth.astype(float) - found) ** 2).sum()
    return float(10 * np.log10((truth.astype(float) ** 2).sum() / max(error, 1e-30)))


def test_fp16_stores_half_and_computes_in_float32(tmp_path: Path) -> None:
    whole, full = convert(tmp_path, "fp32")
    half, rounded = convert(tmp_path, "fp16")
    assert (whole.precision, half.precision) == ("fp32", "fp16")
    session = get_runtime("openvino").load(rounded, "cpu", SessionOptions("fp16"))
    assert session.effective_options["inference_precision"] == "f32"
    truth = run(full, "fp32", "simcc_x")
    assert 50 < sqnr(truth, run(rounded, "fp16", "simcc_x")) < 120


def test_a_file_declares_that_it_is_computed_in_f16(tmp_path: Path) -> None:
    done, files = convert(tmp_path, "fp16", inference_precision="f16")
    assert done.precision == "fp16"
    if probe_on("openvino", "cpu", "f16").ok:
        session = get_runtime("openvino").load(files, "cpu", SessionOptions("fp16"))
        assert session.effective_options["inference_precision"] == "f16"
    else:
        with pytest.raises(PrecisionError, match="not in f16 as it was set"):
            get_runtime("openvino").load(files, "cpu", SessionOptions("fp16"))
    again = SessionOptions("fp16", extra={"inference_precision": "f32"})
    session = get_runtime("openvino").load(files, "cpu", again)
    assert session.effective_options["inference_precision"] == "f32"


def test_bf16_stores_float32_and_computes_in_bf16(tmp_path: Path) -> None:
    done, files = convert(tmp_path, "bf16")
    assert done.precision == "bf16"
    assert weight_precision(ov.Core().read_model(files[0])) == "fp32"
    if not probe_on("openvino", "cpu", "bf16").ok:
        with pytest.raises(PrecisionError, match="bf16"):
            run(files, "bf16", "simcc_x")
        return
    session = get_runtime("openvino").load(files, "cpu", SessionOptions("bf16"))
    assert session.effective_options["inference_precision"] == "bf16"
    assert 20 < sqnr(run(files, "fp32", "simcc_x"), run(files, "bf16", "simcc_x")) < 60


def test_an_inference_precision_that_the_precision_rules_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="expected one of bf16 at precision bf16"):
        convert(tmp_path, "bf16", inference_precision="f32")
    with pytest.raises(BadInputError, match="expected one of f32, f16 at precision fp16"):
        convert(tmp_path, "fp16", inference_precision="bf16")


def test_an_inference_precision_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"backend_config\.inference_precision"):
        convert(tmp_path, "fp16", inference_precision="f8")


@pytest.mark.parametrize(
    ("graph", "output", "stays"),
    [(simcc_graph, "simcc_x", {"simcc_x", "simcc_y"}), (detector_graph, "boxes", {"head"})],
)
def test_int8_is_near_and_what_stays_stays(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    graph: Callable[[Path], Path],
    output: str,
    stays: set[str],
) -> None:
    _, full = convert(tmp_path, "fp32", graph)
    capsys.readouterr()
    done, files = convert(tmp_path, "int8", graph)
    assert capsys.readouterr().out == ""
    assert done.precision == "int8"
    assert sqnr(run(full, "fp32", output), run(files, "int8", output)) > 20
    read = ov.Core().read_model(files[0])
    layers = {name.removesuffix("/WithoutBiases") for name in quantized_layers(read)}
    assert "conv1" in layers
    assert not layers & stays
    assert done.recipe["quantized_layers"] == len(layers)
    assert done.recipe["calibration"]["count"] == 8


def test_operations_keep_their_names(tmp_path: Path) -> None:
    ir = simcc_graph(tmp_path / "m.onnx")
    before = {op.get_friendly_name() for op in ov.Core().read_model(ir).get_ops()
              if op.get_type_name() in openvino_int8.WEIGHTED}  # fmt: skip
    _, files = convert(tmp_path, "int8")
    after = {op.get_friendly_name() for op in ov.Core().read_model(files[0]).get_ops()}
    assert before <= after


def test_nothing_to_quantize_is_an_error(tmp_path: Path) -> None:
    import onnx

    ir = simcc_graph(tmp_path / "m.onnx")
    everything = [node.name for node in onnx.load(ir).graph.node]
    with pytest.raises(ConversionError, match="no layer that was quantized"):
        quantize_openvino(ov.Core().read_model(ir), ir, noise(0), keep=everything)


def test_without_nncf_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nncf", None)
    ir = simcc_graph(tmp_path / "m.onnx")
    with pytest.raises(UnavailableError, match="pip install nncf"):
        quantize_openvino(ov.Core().read_model(ir), ir, noise(0))
