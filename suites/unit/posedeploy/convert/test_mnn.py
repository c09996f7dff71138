"""Conversion for MNN: its converter always succeeds, so its file is read, run and compared."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.mnn_graphs import image, write_graph
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.convert import conversion_availability, get_converter
from posedeploy.convert.mnn import CHILD, check_file, run_converter, weight_precision
from posedeploy.errors import ConversionError
from posedeploy.runtime import Availability, Code, SessionOptions, get_runtime

INSTALLED = get_runtime("mnn").probe()
needs_mnn = pytest.mark.skipif(not INSTALLED.ok, reason=f"unavailable:{INSTALLED.code}")
Files = Callable[[str], Path]
# Stands in for the extension: it prints what it was given, and which of MNN's modules are there
FAKE_TOOLS = """
import sys
def mnnconvert(arguments):
    print(arguments, sorted(name for name in sys.modules if name.partition(".")[0] == "MNN"))
"""


def config(precision: str = "fp32") -> DeployConfig:
    name = "pose-detection_mnn_static-256x192"
    return dataclasses.replace(load_deploy_config(name), precision=precision)


def signal_to_noise(found: np.ndarray, expected: np.ndarray) -> float:
    """In dB."""
    noise = np.square(found - expected, dtype=np.float64).sum()
    return float(10 * np.log10(np.square(expected, dtype=np.float64).sum() / noise))


@needs_mnn
@pytest.mark.parametrize(
    ("precision", "least_db"),
    # weights on a symmetric grid of one step a channel: int8 loses nothing
    [("fp32", 115), ("fp16", 55), ("int8", 100)],
)
def test_a_file_holds_what_its_deploy_config_says(
    mnn_graph: Path, tmp_path: Path, precision: str, least_db: float
) -> None:
    converted = get_converter("mnn", precision).convert(mnn_graph, config(precision), tmp_path)
    assert (converted.files, converted.precision) == (("end2end.mnn",), precision)
    session = get_runtime("mnn").load([tmp_path / "end2end.mnn"], "cpu", SessionOptions(precision))
    assert converted.declared is not None
    assert converted.declared.outputs == session.outputs
    exact = get_runtime("onnxruntime").load([mnn_graph], "cpu", SessionOptions())
    feed = {"input": image(1)}
    found, expected = session.run(feed), exact.run(feed)
    for name in ("map", "gelu"):  # GELU by tanh has 70 dB
        assert signal_to_noise(found[name], expected[name]) > least_db


@needs_mnn
def test_what_is_no_onnx_file_is_refused_by_mnns_own_words(tmp_path: Path) -> None:
    graph = tmp_path / "graph.onnx"
    graph.write_text("{}")
    with pytest.raises(ConversionError, match=r"wrote no file: .*not onnx model|Convert error"):
        get_converter("mnn", "fp32").convert(graph, config(), tmp_path)


@needs_mnn
@pytest.mark.parametrize("content", [b"", b"\0" * 524])
def test_a_file_without_a_graph_is_not_accepted(
    mnn_graph: Path, tmp_path: Path, content: bytes
) -> None:
    target = tmp_path / "end2end.mnn"
    target.write_bytes(content)
    with pytest.raises(ConversionError, match=r"could not load end2end\.mnn.*Converted Success!"):
        check_file(mnn_graph, target, "fp32", "Converted Success!")


@needs_mnn
def test_a_file_that_computes_something_else_is_not_accepted(
    mnn_file: Files, tmp_path: Path
) -> None:
    import onnx

    graph = onnx.load(write_graph(tmp_path / "other.onnx"))
    graph.graph.initializer[0].raw_data = bytes(len(graph.graph.initializer[0].raw_data))
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(ConversionError, match="map: off by"):
        check_file(tmp_path / "other.onnx", mnn_file("fp32"), "fp32")


@needs_mnn
def test_int8_keeps_the_last_layers_in_float32(mnn_graph: Path, tmp_path: Path) -> None:
    done = get_converter("mnn", "int8").convert(mnn_graph, config("int8"), tmp_path)
    assert (done.recipe["quantized_layers"], done.recipe["kept"]) == (1, {"last layers": 1})


@needs_mnn
def test_float16_is_rounded_to_the_nearest(mnn_graph: Path, mnn_file: Files) -> None:
    """MNN's own `--fp16` has half of the weights one step nearer to zero."""
    import onnx

    exact = onnx.numpy_helper.to_array(onnx.load(mnn_graph).graph.initializer[1])
    assert exact.astype(np.float16).tobytes() in mnn_file("fp16").read_bytes()


@needs_mnn
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_precision_is_read_from_the_file(mnn_file: Files, precision: str) -> None:
    assert weight_precision(mnn_file(precision)) == precision


def test_a_dynamic_batch_is_refused(mnn_graph: Path, tmp_path: Path) -> None:
    dynamic = load_deploy_config("pose-detection_onnxruntime_dynamic")
    with pytest.raises(ConversionError, match="a dynamic batch"):
        get_converter("mnn", "fp32").convert(mnn_graph, dynamic, tmp_path)


def test_a_converter_that_crashes_is_an_error(mnn_graph: Path, tmp_path: Path) -> None:
    crash = "import os; print('std::length_error', flush=True); os.abort()"
    with pytest.raises(ConversionError, match="ended with status -6: std::length_error"):
        run_converter(mnn_graph, tmp_path / "a.mnn", (), crash)


def test_the_scripts_that_install_packages_are_not_imported(tmp_path: Path) -> None:
    """They are `MNN.tools`; the child imports the extension, `_tools`, alone."""
    (tmp_path / "_tools.py").write_text(FAKE_TOOLS)
    command = [sys.executable, "-c", CHILD, "-f", "ONNX"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "['mnnconvert', '-f', 'ONNX'] []\n"


def test_converting_needs_onnx_runtime_and_mnn() -> None:
    here, gone = Availability(Code.AVAILABLE), Availability(Code.NOT_INSTALLED, "no MNN")
    assert conversion_availability("mnn", here, lambda _tool: True).ok
    assert conversion_availability("mnn", gone, lambda _tool: True).code is Code.NOT_INSTALLED
    found = conversion_availability("mnn", here, lambda _tool: False)
    assert (found.code, "onnxruntime" in found.reason) == (Code.TOOL_MISSING, True)
