"""What NVIDIA's builder makes of small graphs, and what it refuses, without a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from fixtures.tiny_judge import TinyJudge
from poseconform.judge.stages import StageFailure
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.convert import Converted, conversion_availability, get_converter
from posedeploy.convert.tensorrt import MAX_TOP_K, BuildSettings, Profile, build_engine
from posedeploy.errors import ConversionError
from posedeploy.precision.qdq import RECIPES, quantize_onnx
from posedeploy.runtime import Code, StoredPrecision, TensorInfo, get_runtime
from posedeploy.runtime.host import run_probe
from posedeploy.runtime.tensorrt_rtx import CAPABILITIES, RTX
from suites.contract.tensorrt.graphs import SIZE, write_foreign, write_network, write_suppression
from suites.contract.tensorrt.scenarios import calibration, refused

pytest.importorskip(
    "tensorrt_rtx_bindings", reason="unavailable:not-installed", exc_type=ImportError
)

FP32 = BuildSettings(StoredPrecision.FP32, 0, strongly_typed=True)


def flow(precision: str, mode: str, capabilities: list[str] | None = None) -> DeployConfig:
    """A deploy config whose profile fits the small graphs."""
    name = "" if precision == "fp32" else f"-{precision}"
    config = load_deploy_config(f"pose-detection_tensorrt-rtx{name}_{mode}-256x192")
    shapes = {
        f"{key}_shape": [batch, *SIZE] for key, batch in (("min", 1), ("opt", 2), ("max", 4))
    }
    backend = {
        **config.raw["backend_config"],
        "compute_capabilities": capabilities,
        "model_inputs": [{"input_shapes": {"input": shapes}}],
    }
    return replace(config, raw={**config.raw, "backend_config": backend})


def converted(folder: Path, graph: Path, config: DeployConfig) -> Converted:
    """What the converter makes of a graph in a folder."""
    folder.mkdir(exist_ok=True)
    converter = get_converter("tensorrt-rtx", config.precision)
    return converter.convert(graph, config, folder, calibration())


@pytest.mark.parametrize("mode", ["static", "dynamic"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_with_the_ends_of_the_graph(
    tmp_path: Path, precision: str, mode: str
) -> None:
    batch: int | str = "batch" if mode == "dynamic" else 1
    graph = write_network(tmp_path / "m.onnx", batch)
    done = converted(tmp_path / "sdk", graph, flow(precision, mode))
    assert (done.files, done.precision) == (("end2end.engine",), precision)
    assert done.declared is not None
    assert done.declared.inputs == (TensorInfo("input", (batch, *SIZE), "float32"),)
    assert done.declared.outputs == (TensorInfo("output", (batch, 4, *SIZE[1:]), "float32"),)
    built = json.loads((tmp_path / "sdk" / "end2end.engine.json").read_text())
    assert built["compute_capabilities"] == "the library's own set"
    typed = onnx.load(tmp_path / "sdk" / "end2end.onnx").graph
    kinds = {tensor.data_type for tensor in typed.initializer}
    assert (TensorProto.FLOAT16 in kinds) is (precision == "fp16")
    assert (TensorProto.INT8 in kinds) is (precision == "int8")


def test_engines_are_built_for_the_compute_capabilities_that_are_named(tmp_path: Path) -> None:
    graph = write_network(tmp_path / "m.onnx")
    plans = {}
    for words in (["7.5"], ["8.6", "8.9"], list(CAPABILITIES)):
        folder = tmp_path / "-".join(words)
        converted(folder, graph, flow("fp32", "static", words))
        plans["-".join(words)] = (folder / "end2end.engine").read_bytes()
        built = json.loads((folder / "end2end.engine.json").read_text())
        assert built["compute_capabilities"] == ",".join(words)
    assert len(set(plans.values())) == 3


def test_the_capabilities_here_are_those_of_the_library() -> None:
    names = RTX.load().ComputeCapability.__members__
    assert {f"SM{word.replace('.', '')}" for word in CAPABILITIES} == {
        name for name in names if name.startswith("SM")
    }


def test_an_operator_that_the_parser_lacks_is_refused_with_its_name(tmp_path: Path) -> None:
    graph = write_network(tmp_path / "m.onnx")
    model = onnx.load(graph)
    model.graph.node[1].op_type = "Bernoulli"  # in place of Relu: ONNX has it, NVIDIA has not
    onnx.save(model, graph)
    with pytest.raises(ConversionError, match="Bernoulli 'relu1'") as raised:
        converted(tmp_path / "sdk", graph, flow("fp32", "static"))
    assert raised.value.stage == "convert"
    assert not list((tmp_path / "sdk").iterdir())


def write_damaged(path: Path) -> Path:
    """A file that is no graph."""
    path.write_bytes(b"\xff\xff not a graph")
    return path


def write_asymmetric(path: Path) -> Path:
    """A quantizer of activations whose zero point is not 0."""
    ir = write_network(path.with_name("ir.onnx"))
    quantize_onnx(ir, path, calibration(), RECIPES["tensorrt"])
    model = onnx.load(path)
    zeros = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for tensor in model.graph.initializer:
        if tensor.name in zeros and not tensor.dims:
            tensor.CopyFrom(numpy_helper.from_array(np.array(3, np.int8), tensor.name))
    onnx.save(model, path)
    return path


TALL = replace(FP32, profiles={"input": Profile(*((n, 3, 32, 12) for n in (1, 2, 4)))})
# what is built, the settings, and words of NVIDIA's parser and builder
REFUSED: tuple[tuple[Callable[[Path], Path], BuildSettings, tuple[str, ...]], ...] = (
    (write_asymmetric, FP32, ("Non-zero zero point is not supported", "QuantizeLinear 'input_")),
    (write_damaged, FP32, ("Failed to parse the ONNX model", "onnxProtoUtils.hpp")),
    (write_foreign, FP32, ("Plugin not found", "FusedConv 'fused1'", "onnxOpCheckers.cpp")),
    (write_suppression, FP32, ("nms1_0 has no runners",)),
    (partial(write_suppression, best=MAX_TOP_K + 1), FP32, (f"value allowed ({MAX_TOP_K})",)),
    (partial(write_network, batch="batch"), FP32, ("no optimization profile", "m.onnx")),
    (partial(write_network, batch="batch"), TALL, ("profile has min=32", "tensor has 16")),
)


@pytest.mark.parametrize(("write", "settings", "words"), REFUSED)
def test_what_is_refused_is_told_in_nvidias_words(
    tmp_path: Path,
    write: Callable[[Path], Path],
    settings: BuildSettings,
    words: tuple[str, ...],
) -> None:
    graph = write(tmp_path / "m.onnx")
    refused(lambda: build_engine(graph, settings, binding=RTX), ConversionError, *words)


def test_the_errors_of_a_build_are_its_own(tmp_path: Path) -> None:
    """One logger serves a process: what an earlier build has logged is not this one's."""
    dynamic = write_network(tmp_path / "m.onnx", "batch")
    refused(lambda: build_engine(dynamic, FP32, binding=RTX), ConversionError, "no optimization")
    graph = write_suppression(tmp_path / "nms.onnx")
    with pytest.raises(ConversionError, match="no runners") as raised:
        build_engine(graph, FP32, binding=RTX)
    assert "no optimization" not in str(raised.value)


def test_the_library_is_found_whether_or_not_there_is_a_device() -> None:
    found = get_runtime("tensorrt-rtx").probe()
    assert found.code in {Code.AVAILABLE, Code.NO_DEVICE, Code.NO_DRIVER}, found.reason
    assert found.version == RTX.load().__version__
    converting = conversion_availability("tensorrt-rtx", found)
    assert converting.ok


def test_a_cell_whose_graph_the_parser_refuses_fails(tiny_judge: TinyJudge) -> None:
    judge = tiny_judge.of("fixtures.planted_operator:PlantedSubject")
    cell = tiny_judge.cell("rtmpose_t", judge.subject)
    height, width = cell.model.shape
    name = f"pose-detection_simcc_tensorrt-rtx_static-{height}x{width}"
    (flow,) = (flow for flow in judge.subject.flows([name]) if flow.deploy_config == name)
    with pytest.raises(StageFailure, match="Bernoulli") as raised:
        judge.conversion(replace(cell, flow=flow))
    assert (raised.value.stage, raised.value.kind) == ("convert", "failed")


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("ICudaEngine", {"create_execution_context", "create_runtime_config"}),
        ("IRuntimeCache", {"deserialize", "serialize"}),
        ("IRuntimeConfig", {"create_runtime_cache", "set_runtime_cache"}),
    ],
)
def test_what_a_session_calls_on_a_device_is_there(kind: str, members: set[str]) -> None:
    assert members <= set(dir(getattr(RTX.load(), kind)))


def test_polygraphy_runs_the_engines_of_this_library_and_of_one_in_a_process() -> None:
    status, line = run_probe(
        "from posedeploy.runtime.tensorrt import TENSORRT, prepare_process\n"
        "from posedeploy.runtime.tensorrt_rtx import RTX\n"
        "prepare_process(binding=RTX)\n"
        "from polygraphy.backend.trt import runner\n"
        "assert runner.trt.IExecutionContext is RTX.load().IExecutionContext\n"
        "prepare_process(binding=RTX)\n"
        "try:\n"
        "    prepare_process(binding=TENSORRT)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    assert status == 0, line
    assert line.startswith("TensorRT cannot run in a process in which the other one")
