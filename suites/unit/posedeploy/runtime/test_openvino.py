"""The OpenVINO runtime and converter on a small graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from posedeploy.config import load_deploy_config
from posedeploy.convert import get_converter
from posedeploy.errors import ConversionError
from posedeploy.runtime import (
    Code,
    PrecisionError,
    SessionOptions,
    TensorInfo,
    get_runtime,
    probe_on,
)
from posedeploy.runtime.host import Host
from posedeploy.runtime.openvino import OpenVino

pytest.importorskip("openvino")

RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((16, 3 * 64)).astype(np.float32)


def write_onnx(path: Path, batch: int | str = "batch", operator: str = "MatMul") -> Path:
    """`output = flatten(input) @ WEIGHT.T`; an unknown `operator` in place of MatMul stays."""
    make = helper.make_tensor_value_info
    shape = numpy_helper.from_array(np.array([-1, 3 * 64]), "shape")
    weight = numpy_helper.from_array(np.ascontiguousarray(WEIGHT.T), "weight")
    nodes = [
        helper.make_node("Reshape", ["input", "shape"], ["flat"]),
        helper.make_node(operator, ["flat", "weight"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [make("input", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [make("output", TensorProto.FLOAT, [batch, 16])],
        [shape, weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    config = load_deploy_config("pose-detection_openvino_dynamic")
    ir = write_onnx(tmp_path / "model.onnx")
    converted = get_converter("openvino", "fp32").convert(ir, config, tmp_path)
    assert converted.files == ("end2end.xml", "end2end.bin")
    assert converted.precision == "fp32"
    return [tmp_path / name for name in converted.files]


def test_names_shapes_and_numbers(files: list[Path]) -> None:
    session = get_runtime("openvino").load(files, "cpu", SessionOptions())
    assert session.inputs == (TensorInfo("input", ("?", 3, 8, 8), "float32"),)
    assert session.outputs == (TensorInfo("output", ("?", 16), "float32"),)
    for batch in (1, 3):
        image = RNG.standard_normal((batch, 3, 8, 8)).astype(np.float32)
        found = session.run({"input": image})["output"]
        np.testing.assert_allclose(
            found, image.reshape(batch, -1) @ WEIGHT.T, rtol=1e-4, atol=1e-4
        )


def test_results_are_not_overwritten_by_the_next_run(files: list[Path]) -> None:
    session = get_runtime("openvino").load(files, "cpu", SessionOptions())
    first = session.run({"input": np.ones((1, 3, 8, 8), np.float32)})["output"]
    copy = first.copy()
    session.run({"input": np.full((1, 3, 8, 8), -5, np.float32)})
    np.testing.assert_array_equal(first, copy)


def test_the_precision_is_set_and_read_back(files: list[Path]) -> None:
    found = get_runtime("openvino").load(files, "cpu", SessionOptions(threads=1))
    assert found.effective_options["inference_precision"] == "f32"
    assert found.effective_options["inference_num_threads"] == "1"
    assert found.effective_options["num_streams"] == "1"


def test_a_precision_that_is_not_taken_is_an_error(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posedeploy.runtime.openvino._effective", lambda _: EFFECTIVE_BF16)
    with pytest.raises(RuntimeError, match="computes in bf16, not in f32"):
        get_runtime("openvino").load(files, "cpu", SessionOptions())


EFFECTIVE_BF16 = {"inference_precision": "bf16"}


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        ("cuda:0", SessionOptions(), "'cuda:0' is not one of"),
        ("cpu", SessionOptions(precision="fp8"), "'fp8' is not one of"),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(
    files: list[Path], device: str, options: SessionOptions, words: str
) -> None:
    with pytest.raises(RuntimeError, match=words):
        get_runtime("openvino").load(files, device, options)


def test_files_that_are_none_are_a_runtime_error(tmp_path: Path) -> None:
    broken = tmp_path / "end2end.xml"
    broken.write_text("<net>")
    with pytest.raises(RuntimeError):
        get_runtime("openvino").load([broken], "cpu", SessionOptions())


def test_fp16_weights_are_reported_as_such(files: list[Path]) -> None:
    import openvino as ov

    from posedeploy.convert.openvino import weight_precision

    model = ov.Core().read_model(files[0])
    rounded = files[0].with_name("rounded.xml")
    ov.save_model(model, rounded, compress_to_fp16=True)
    assert weight_precision(model) == "fp32"
    assert weight_precision(ov.Core().read_model(rounded)) == "fp16"


def test_an_operator_that_it_lacks_is_a_conversion_error(tmp_path: Path) -> None:
    ir = write_onnx(tmp_path / "model.onnx", operator="NoSuchOperator")
    config = load_deploy_config("pose-detection_openvino_dynamic")
    with pytest.raises(ConversionError, match="NoSuchOperator"):
        get_converter("openvino", "fp32").convert(ir, config, tmp_path)


@pytest.mark.parametrize(
    ("status", "listed", "word", "code", "words"),
    [
        (0, "BF16 FP32 INT8", "bf16", Code.AVAILABLE, ""),
        (
            0,
            "BF16 FP32 INT8",
            "f16",
            Code.NO_DEVICE,
            "does not compute in f16 on this CPU, but in",
        ),
        (0, "FP16 FP32 INT8", "f16", Code.AVAILABLE, ""),
        (-11, "", "f32", Code.BROKEN_INSTALL, "the CPU plugin failed"),
    ],
)
def test_a_precision_that_the_processor_lacks_is_unavailable(
    status: int, listed: str, word: str, code: Code, words: str
) -> None:
    def run(code: str, _seconds: float) -> tuple[int, str]:
        return (status, listed) if "OPTIMIZATION_CAPABILITIES" in code else (0, "")

    found = OpenVino(Host(run=run)).probe_inference_precision(word)
    assert found.code is code
    assert words in found.reason


def test_what_this_processor_lists_is_what_is_computed(files: list[Path]) -> None:
    """The list and the compiled model must not contradict each other."""
    for word in ("f16", "bf16", "f32"):
        options = SessionOptions(extra={"inference_precision": word})
        if probe_on("openvino", "cpu", word).ok:
            session = get_runtime("openvino").load(files, "cpu", options)
            assert session.effective_options["inference_precision"] == word
        else:
            with pytest.raises(PrecisionError, match=f"not in {word} as it was set"):
                get_runtime("openvino").load(files, "cpu", options)


@pytest.mark.parametrize("batch", [5_000, 100_000])
def test_a_batch_that_nobody_can_hold_is_refused_before_it_is_compiled(
    tmp_path: Path, batch: int
) -> None:
    """Compiling a graph of 100,000 images took 3.6 GB."""
    path = write_onnx(tmp_path / "a.onnx", batch)
    with pytest.raises(RuntimeError, match=rf"'input' of shape \[{batch}, 3, 8, 8\]; expected"):
        get_runtime("openvino").load([path], "cpu", SessionOptions())
