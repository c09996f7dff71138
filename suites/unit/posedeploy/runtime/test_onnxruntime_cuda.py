"""ONNX Runtime on CUDA, simulated: the options that it is given and those that it reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.small_graphs import noise, simcc_graph
from poseconform.checks.conversion import size_operators
from poseconform.checks.session import placement
from poseconform.matrix.cells import Cell, Flow, Model
from posedeploy.precision.qdq import RECIPES, quantize_onnx
from posedeploy.runtime import (
    Code,
    SessionOptions,
    device_of,
    get_runtime,
    probe_on,
)
from posedeploy.runtime.host import CudaDevice, CudaDevices, Host, run_probe
from posedeploy.runtime.onnxruntime import (
    _CHECK,
    NO_INT8_LAYERS,
    OnnxRuntime,
    cuda_options,
    needed_cuda,
)

GPU = CudaDevices(Code.AVAILABLE, "", "13.0", (CudaDevice("a GPU", "9.0"),))
OLD = replace(GPU, driver="12.8")


class FakeSession:
    """An `InferenceSession` on CUDA that records its options."""

    falls_back = False
    tf32 = ""  # '' obeys
    on_cpu: tuple[str, ...] = ()

    def __init__(self, _path: str, options: Any, providers: list[Any]) -> None:
        self.providers, self.options = providers, options

    def get_providers(self) -> list[str]:
        cuda = [] if self.falls_back else ["CUDAExecutionProvider"]
        return [*cuda, "CPUExecutionProvider"]

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        settings = {"device_id": "0", **self.providers[0][1]}
        return {"CUDAExecutionProvider": settings | ({"use_tf32": self.tf32} if self.tf32 else {})}

    def get_provider_graph_assignment_info(self) -> list[Any]:
        def part(provider: str, *kinds: str) -> Any:
            nodes = [SimpleNamespace(op_type=kind) for kind in kinds]
            return SimpleNamespace(ep_name=provider, get_nodes=lambda: nodes)

        return [part("CUDAExecutionProvider", "Conv"), part("CPUExecutionProvider", *self.on_cpu)]

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Loads on CUDA, with a fake session of these attributes."""

    def loaded(precision: str = "fp32", device: str = "cuda", **attributes: object) -> Any:
        fake = type("Fake", (FakeSession,), attributes)
        monkeypatch.setattr(onnxruntime, "InferenceSession", fake)
        runtime = get_runtime("onnxruntime")
        return runtime.load([Path("x.onnx")], device, SessionOptions(precision))

    return loaded


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("fp16", "1"), ("int8", "0")])
def test_tf32_is_on_in_fp16_alone_and_the_record_says_so(
    load: Callable[..., Any], precision: str, tf32: str
) -> None:
    options = load(precision, "cuda:1").effective_options
    assert options["tf32"] == tf32
    assert options["device_id"] == "1"
    assert options["nodes_on_cpu"] == "none"
    assert options["providers"].startswith("CUDAExecutionProvider")


def test_the_first_device_is_not_named_for_that_makes_onnxruntime_warn_of_plugins() -> None:
    assert "device_id" not in cuda_options(0, "fp32")
    assert cuda_options(1, "fp32")["device_id"] == "1"


def test_another_device_than_the_one_that_was_asked_for_is_an_error(
    load: Callable[..., Any],
) -> None:
    def first(_self: object) -> dict[str, dict[str, str]]:
        return {"CUDAExecutionProvider": {"device_id": "0", "use_tf32": "0"}}

    with pytest.raises(RuntimeError, match="runs on CUDA device 0, not on 1"):
        load("fp32", "cuda:1", get_provider_options=first)


def optimized(path: Path, out: Path, **entries: str) -> onnx.GraphProto:
    """A graph as ONNX Runtime runs it, with these entries of the session's configuration."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(out)
    for name, value in entries.items():
        options.add_session_config_entry(f"session.{name}", value)
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(out).graph


def rounded_types(graph: onnx.GraphProto) -> set[int]:
    """Element types of what is dequantized while the graph runs."""
    points = {n.input[2] for n in graph.node if n.op_type == "DequantizeLinear"}
    return {t.data_type for t in graph.initializer if t.name in points}


def test_int8_on_cuda_is_what_was_rounded_computed_in_float32(load: Callable[..., Any]) -> None:
    session = load("int8")
    assert session._session.options.get_session_config_entry(NO_INT8_LAYERS) == "1"
    assert session.effective_options["int8_layers"] == "rounded to 8 bits, computed in float32"
    assert "int8_layers" not in load("fp32").effective_options


def test_without_int8_layers_nothing_is_left_that_cuda_has_no_kernel_for(tmp_path: Path) -> None:
    """CUDA rounds to 8 bits and back; it has neither layers in int8 nor biases in int32."""
    graph = tmp_path / "int8.onnx"
    quantize_onnx(simcc_graph(tmp_path / "m.onnx"), graph, noise(0), RECIPES["onnxruntime"])
    left_alone = optimized(graph, tmp_path / "cpu.onnx")
    assert "QLinearConv" in {node.op_type for node in left_alone.node}
    name = NO_INT8_LAYERS.removeprefix("session.")
    on_cuda = optimized(graph, tmp_path / "cuda.onnx", **{name: "1"})
    assert not [node.op_type for node in on_cuda.node if node.op_type.startswith("QLinear")]
    assert rounded_types(on_cuda) == {TensorProto.UINT8}


def test_tf32_that_stays_on_is_an_error(load: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="TF32 on CUDA although it is switched off"):
        load(tf32="1")


def test_a_provider_that_is_replaced_is_an_error(load: Callable[..., Any]) -> None:
    with pytest.raises(RuntimeError, match="fell back from CUDAExecutionProvider to CPUExec"):
        load(falls_back=True)


def test_nodes_on_the_cpu_are_listed_by_kind(load: Callable[..., Any]) -> None:
    options = load(on_cpu=("Shape", "TopK", "Shape")).effective_options
    assert options["nodes_on_cpu"] == "Shape 2, TopK 1"


def test_a_version_that_cannot_tell_placement_says_so(load: Callable[..., Any]) -> None:
    del_info = {"get_provider_graph_assignment_info": property(_not_there)}
    assert load(**del_info).effective_options["nodes_on_cpu"] == "unknown"


def _not_there(_self: object) -> None:
    raise AttributeError


@pytest.mark.parametrize(
    ("options", "failure"),
    [
        ({}, ""),
        ({"nodes_on_cpu": "none"}, ""),
        ({"nodes_on_cpu": "unknown"}, "found unknown; expected a list"),
        ({"nodes_on_cpu": "Concat 1, Gather 1, Shape 1"}, ""),
        ({"nodes_on_cpu": "Concat 1, Gather 2, Shape 1"}, "to the CPU: found ['Gather 2']"),
        ({"nodes_on_cpu": "Shape 1, TopK 1"}, "fell back to the CPU: found ['TopK 1']"),
    ],
)
def test_a_node_that_computes_values_on_the_cpu_fails_the_cell(
    tmp_path: Path, options: dict[str, str], failure: str
) -> None:
    write_reshape(tmp_path / "end2end.onnx")
    loaded = SimpleNamespace(effective_options=options)
    judge: Any = SimpleNamespace(
        execution=lambda _cell: SimpleNamespace(loaded=loaded),
        conversion=lambda _cell: SimpleNamespace(folder=tmp_path),
    )
    flow = Flow("x", "", "onnxruntime", "fp32", "static", None)
    verdict = placement(judge, Cell(Model("m", "f", (), "", (4, 4), "c"), flow))
    assert failure in "; ".join(verdict.failures)
    assert bool(failure) == bool(verdict.failures)


def write_reshape(path: Path) -> None:
    """Rows of `x` [N, 4] by an index that is computed, brought to a shape that is computed."""
    value, node = helper.make_tensor_value_info, helper.make_node
    rows = numpy_helper.from_array(np.array([0], np.int64), "zero")
    rest = numpy_helper.from_array(np.array([-1], np.int64), "rest")
    nodes = [
        node("ArgMax", ["x"], ["best"], axis=0, keepdims=0),
        node("Gather", ["x", "best"], ["picked"]),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["count"]),
        node("Concat", ["count", "rest"], ["target"], axis=0),
        node("Reshape", ["picked", "target"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "rows", [value("x", TensorProto.FLOAT, ["n", 4])],
        [value("y", TensorProto.FLOAT, None)], [rows, rest],
    )  # fmt: skip
    onnx.save(helper.make_model(graph), path)


def test_what_computes_sizes_is_recognized_by_what_it_reads(tmp_path: Path) -> None:
    write_reshape(tmp_path / "end2end.onnx")
    found = size_operators(tmp_path / "end2end.onnx")
    assert found == {"Concat": 1, "Gather": 1, "Shape": 1}


@pytest.mark.parametrize(
    ("versions", "devices", "child", "code", "reason"),
    [
        (("1.31", "1.31"), OLD, (0, ""), Code.VERSION_TOO_OLD,
         "CUDA 12.8; this onnxruntime-gpu needs 13"),
        (None, GPU, (0, ""), Code.NOT_INSTALLED, "onnxruntime is not installed"),
        (("1.31", "1.31"), CudaDevices(Code.NO_DRIVER, "none"), (0, ""), Code.NO_DRIVER, "none"),
        (("1.31", "1.31"), CudaDevices(Code.NO_DEVICE, "0"), (0, ""), Code.NO_DEVICE, "0"),
        (("1.31", ""), GPU, (0, ""), Code.TOOL_MISSING, "pip install onnxruntime-gpu"),
        (("1.31", "1.0"), GPU, (0, ""), Code.VERSION_TOO_OLD, "1.0 is older than 1.20"),
        (("1.31", "1.31"), GPU, (1, "no cuDNN"), Code.BROKEN_INSTALL, "no cuDNN"),
        (("1.31", "1.31"), GPU, (0, ""), Code.AVAILABLE, ""),
    ],
)  # fmt: skip
def test_why_cuda_cannot_be_used(
    versions: tuple[str, str] | None,
    devices: CudaDevices,
    child: tuple[int, str],
    code: Code,
    reason: str,
) -> None:
    """`versions` are those of onnxruntime and onnxruntime-gpu; `child` checks the provider."""

    def version(*names: str) -> str:
        return dict(zip(("onnxruntime", "onnxruntime-gpu"), versions or ("", ""), strict=True))[
            names[0]
        ]

    def run(code: str, _seconds: float) -> tuple[int, str]:
        return child if "providers=" in code else (0, "")

    host = Host("linux", lambda _: versions is not None, version, run, lambda: devices)
    found = OnnxRuntime(host, ("nvidia-cuda-runtime~=13.0",)).probe_device("cuda")
    assert found.code is code
    assert reason in found.reason


@pytest.mark.parametrize(
    ("wheels", "cuda"),
    [
        (["nvidia-cufft~=12.0", 'nvidia-cuda-runtime~=13.0; extra == "cuda"'], "13.0"),
        (['nvidia-cuda-runtime-cu12~=12.0; extra == "cuda"'], "12.0"),
        (["numpy>=1.21"], ""),
        ([], ""),
    ],
)
def test_the_cuda_that_it_needs_is_what_its_package_asks_for(wheels: list[str], cuda: str) -> None:
    assert needed_cuda(wheels) == cuda


def test_the_check_of_the_provider_refuses_a_package_without_cuda() -> None:
    status, line = run_probe(f"import onnxruntime\n{_CHECK}")
    assert status == 1
    assert line == "AssertionError: it was built without CUDA"


@pytest.mark.parametrize(
    ("backend", "precision", "asked", "expected"),
    [
        ("onnxruntime", "fp32", "", "cpu"),
        ("onnxruntime", "fp32", "cuda:1", "cuda:1"),
        ("pplnn", "fp16", "", "cuda"),
        ("pplnn", "fp32", "cuda", "cpu"),
        ("tensorrt", "fp32", "", "cuda"),
    ],
)
def test_where_a_backend_computes(backend: str, precision: str, asked: str, expected: str) -> None:
    assert device_of(backend, precision, asked) == expected


def test_a_backend_without_the_device_is_unavailable_there() -> None:
    found = probe_on("openvino", "cuda:0")
    assert found.code is Code.NO_DEVICE
    assert found.reason == "openvino does not run on cuda here, but: cpu"
