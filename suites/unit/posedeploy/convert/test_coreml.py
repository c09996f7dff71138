"""CoreML without macOS: conversion of small networks, and what the judge reads of the packages."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fixtures.coreml_packages import package_facts
from fixtures.threads import THREADS, compare_threads
from poseconform.evaluators.mil.session import (
    EVALUATOR,
    MilSession,
    Operation,
    Value,
    load,
    read_program,
)
from poseconform.judge.runs import load as load_for_judge
from poseconform.judge.runs import run as run_for_judge
from posedeploy.config import DeployConfig, load_deploy_config
from posedeploy.convert import Converted, conversion_availability, get_converter
from posedeploy.errors import BadInputError, ConversionError
from posedeploy.export import ExportableModule, write_graph
from posedeploy.export.decoding import SimccPeaks
from posedeploy.heads import head_of_kind
from posedeploy.runtime import Code, SessionOptions, TensorInfo, coreml, get_runtime
from posedeploy.runtime.coreml import CoreMl
from posedeploy.runtime.host import CudaDevices, Host

pytest.importorskip("coremltools")

HEATMAP = head_of_kind("heatmap")
NO_DEVICES = CudaDevices(Code.NO_DRIVER)
FP32 = load_deploy_config("pose-detection_coreml_static-256x192")
FP16 = load_deploy_config("pose-detection_coreml-fp16_static-256x192")
INPUT = np.random.default_rng(0).random((1, 3, 16, 12), np.float32)


class Small(nn.Module):
    """Convolution, batch norm, a branch and an upsampling: what heatmap models are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.SiLU())
        self.second = nn.Conv2d(64, 5, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        """[N, 3, H, W] -> [N, 5, H, W]."""
        parts = self.first(x).split([16, 16], 1)
        joined = torch.cat((*parts, *(part.sigmoid() for part in parts)), 1)
        everything = joined[:, 0:]  # an alias, as ViTPose's tokens after none of another kind
        return (nn.functional.interpolate(self.second(everything), scale_factor=2),)


def converted(folder: Path, config: DeployConfig) -> tuple[Converted, nn.Module]:
    torch.manual_seed(0)
    network = Small().eval().requires_grad_(False)
    module = ExportableModule(
        network, HEATMAP, HEATMAP.stages[0], (12, 16), ("input",), ("output",)
    )
    graph = write_graph(module, config, folder, "exported-program")
    assert graph.path.name == "end2end.pt2"
    assert (graph.exporter, graph.opset) == ("torch.export", 0)
    assert any("conv2d" in name for name in graph.nodes)
    done = get_converter("coreml", config.precision).convert(graph.path, config, folder)
    return done, network


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Converted, nn.Module]]:
    found = {}
    for config in (FP32, FP16):
        folder = tmp_path_factory.mktemp(config.precision)
        found[config.precision] = (folder / "end2end.mlpackage", *converted(folder, config))
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_package_says_its_names_shapes_and_precision(made: Any, precision: str) -> None:
    path, done, _ = made[precision]
    assert (done.files, done.precision) == (("end2end.mlpackage",), precision)
    assert done.declared.inputs == (TensorInfo("input", (1, 3, 16, 12), "float32"),)
    assert done.declared.outputs == (TensorInfo("output", (1, 5, 16, 12), "float32"),)
    facts = package_facts(path)
    assert (facts.kind, facts.specification_version) == ("mlProgram", 7)
    assert facts.element_types == {"float32" if precision == "fp32" else "float16"}


@pytest.mark.parametrize(("precision", "limit"), [("fp32", 1e-5), ("fp16", 5e-3)])
def test_the_judge_computes_what_pytorch_does(made: Any, precision: str, limit: float) -> None:
    path, _, network = made[precision]
    loaded = load_for_judge("coreml", [str(path)], "cpu", SessionOptions(precision), evaluate=True)
    assert loaded.effective_options == {"evaluator": EVALUATOR}
    got = run_for_judge(INPUT).outputs["output"]
    truth = network(torch.from_numpy(INPUT))[0].numpy()
    error = np.abs(got - truth).max()
    assert 0 <= error <= limit
    assert (error > 1e-5) == (precision == "fp16"), "the precision that it is evaluated in"


class Places(nn.Module):
    """The places of maxima beyond 4000 cells, where float16 counts in steps of 2 and 4."""

    def __init__(self) -> None:
        super().__init__()
        self.decode = SimccPeaks({"simcc_split_ratio": 1.0})

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[1, 3, H, W] -> [1, 3, 2], [1, 3]."""
        line = torch.cat([torch.zeros(1, 3, 4001), x.flatten(2)], -1)
        points, scores = self.decode(line, line)
        return points, scores


def test_places_are_counted_in_float32_in_fp16(tmp_path: Path) -> None:
    config = load_deploy_config("pose-detection_simcc_coreml-fp16-keypoints_static-256x192")
    names, network = config.output_names, Places().eval()
    stage = head_of_kind("simcc").stage("keypoints")
    module = ExportableModule(network, head_of_kind("simcc"), stage, (12, 16), ("input",), names)
    graph = write_graph(module, config, tmp_path, "exported-program")
    get_converter("coreml", "fp16").convert(graph.path, config, tmp_path)
    load_for_judge(
        "coreml", [str(tmp_path / "end2end.mlpackage")], "cpu", SessionOptions("fp16"),
        evaluate=True,
    )  # fmt: skip
    spread = np.linspace(0, 0.5, 192, dtype=np.float32).reshape(16, 12)
    image = np.stack([np.roll(spread, -step) for step in (1, 2, 60)])[None]
    places = run_for_judge(image).outputs["keypoints"]
    assert places[0, :, 0].tolist() == [4001 + 190, 4001 + 189, 4001 + 131]


def test_a_weight_that_is_wrong_in_the_package_is_seen(made: Any, tmp_path: Path) -> None:
    import shutil

    path, _, network = made["fp32"]
    other = tmp_path / path.name
    shutil.copytree(path, other)
    (weights,) = other.rglob("weight.bin")
    content = bytearray(weights.read_bytes())
    content[256:1280] = bytes(1024)  # behind the headers of the file and of its first entry
    weights.write_bytes(content)
    got = load([other], "cpu", SessionOptions()).run({"input": INPUT})["output"]
    assert np.abs(got - network(torch.from_numpy(INPUT))[0].numpy()).max() > 1e-3


def test_a_dynamic_batch_is_refused_before_the_export(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="found a dynamic batch"):
        converted(tmp_path, dataclasses.replace(FP32, dynamic_batch=True))


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("convert_to", "neuralnetwork", "expected 'mlprogram'"),
        ("minimum_deployment_target", "iOS3", "expected one of .*iOS16"),
    ],
)
def test_a_field_that_is_wrong_is_named(
    tmp_path: Path, field: str, value: str, expected: str
) -> None:
    raw = {**FP32.raw, "backend_config": {"type": "coreml", field: value}}
    with pytest.raises(BadInputError, match=rf"{field}: found '{value}'; {expected}"):
        converted(tmp_path, dataclasses.replace(FP32, raw=raw))


def test_what_torch_cannot_capture_is_an_error_of_the_export(tmp_path: Path) -> None:
    class Deciding(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            """Depends on a value."""
            return (x * 2,) if x.sum() > 0 else (x,)

    module = ExportableModule(
        Deciding(), HEATMAP, HEATMAP.stages[0], (12, 16), ("input",), ("output",)
    )
    with pytest.raises(ConversionError, match=r"torch\.export: found"):
        write_graph(module, FP32, tmp_path, "exported-program")


def test_what_coremltools_cannot_convert_is_an_error_in_its_words(tmp_path: Path) -> None:
    class Fourier(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            """An operator without a row."""
            return (torch.special.bessel_j0(x),)

    module = ExportableModule(
        Fourier(), HEATMAP, HEATMAP.stages[0], (12, 16), ("input",), ("output",)
    )
    path = write_graph(module, FP32, tmp_path, "exported-program").path
    with pytest.raises(ConversionError, match="bessel_j0"):
        get_converter("coreml", "fp32").convert(path, FP32, tmp_path)


def test_what_is_no_package_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "end2end.mlpackage").mkdir()
    for read in (coreml.read_spec, read_program):
        with pytest.raises(RuntimeError, match=r"could not read end2end\.mlpackage"):
            read(tmp_path / "end2end.mlpackage")


def operation(kind: str, shape: tuple[int, ...] = (2,), **parameters: Any) -> Operation:
    return Operation(kind, "it", {"x": Value("input"), **parameters}, (("output", shape),))


INFOS = [TensorInfo("input", (2,), "float32")], [TensorInfo("output", (2,), "float32")]


def test_an_operator_without_a_row_is_named_before_anything_runs() -> None:
    with pytest.raises(RuntimeError, match="no row for: lstm; add it to"):
        MilSession((operation("lstm"),), *INFOS)


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (
            operation("relu", (3,)),
            r"relu 'it': shapes \[\(2,\)\]; the program declares \[\(3,\)\]",
        ),
        (operation("cast", dtype="int8"), "cast 'it': cast to int8"),
        (operation("clip", alpha=0.0), "clip 'it': 'beta'"),
    ],
)
def test_an_operation_that_fails_is_named(op: Operation, message: str) -> None:
    session = MilSession((op,), *INFOS)
    with pytest.raises(RuntimeError, match=message):
        session.run({"input": np.zeros(2)})


# ---- Apple's runtime, simulated ---------------------------------------------------------------


def on(platform: str, code: Code = Code.AVAILABLE, tools: Any = None) -> CoreMl:
    """The runtime on a machine of this platform."""
    installed = code is not Code.NOT_INSTALLED
    host = Host(
        platform, lambda _: installed, lambda *_: "9.0", lambda *_: (0, ""), lambda: NO_DEVICES
    )
    return CoreMl(host, lambda: tools)


def test_on_linux_it_says_that_it_predicts_on_macos_and_converts() -> None:
    found = on("linux").probe()
    assert found.code is Code.WRONG_OS
    assert "macOS only; this is linux" in found.reason
    assert conversion_availability("coreml", found).ok
    with pytest.raises(RuntimeError, match="predicts on macOS only"):
        on("linux").load([Path("x")], "cpu", SessionOptions())
    assert on("darwin").probe().ok


def test_without_coremltools_nothing_converts() -> None:
    absent = on("darwin", Code.NOT_INSTALLED).probe()
    assert absent.code is Code.NOT_INSTALLED
    assert conversion_availability("coreml", absent) == absent


@pytest.mark.parametrize(("precision", "units"), [("fp32", "CPU_ONLY"), ("fp16", "ALL")])
def test_the_precision_decides_which_units_compute(made: Any, precision: str, units: str) -> None:
    path, _, _ = made[precision]
    spec = coreml.read_spec(path)
    loaded = []

    class Model:
        def __init__(self, name: str, compute_units: str) -> None:
            loaded.append((name, compute_units))

        def get_spec(self) -> Any:
            return spec

        def predict(self, feed: dict[str, Any]) -> dict[str, Any]:
            assert feed["input"].dtype == np.float32
            return {"output": feed["input"][:, :1] * 2}

    fake = SimpleNamespace(
        models=SimpleNamespace(MLModel=Model),
        ComputeUnit=SimpleNamespace(CPU_ONLY="CPU_ONLY", ALL="ALL"),
    )
    session = on("darwin", tools=fake).load([path], "cpu", SessionOptions(precision))
    assert loaded == [(str(path), units)]
    assert session.effective_options["compute_units"] == units
    assert (session.effective_options["inference_precision"] == "fp32") == (precision == "fp32")
    assert session.inputs[0].shape == (1, 3, 16, 12)
    np.testing.assert_array_equal(session.run({"input": INPUT})["output"], INPUT[:, :1] * 2)


def test_threads_do_not_get_each_others_results(made: Any) -> None:
    path, _, _ = made["fp32"]

    class Model:
        """Holds its input while it computes, as a model that one thread may use does."""

        def __init__(self, _name: str, **_options: object) -> None:
            self.array = INPUT

        def get_spec(self) -> Any:
            return coreml.read_spec(path)

        def predict(self, feed: dict[str, Any]) -> dict[str, Any]:
            self.array = feed["input"]
            time.sleep(0)
            return {"output": self.array[:, :1] * 2}

    fake = SimpleNamespace(
        models=SimpleNamespace(MLModel=Model), ComputeUnit=SimpleNamespace(CPU_ONLY=1)
    )
    session = on("darwin", tools=fake).load([path], "cpu", SessionOptions())
    feeds = [{"input": INPUT + value} for value in range(THREADS)]
    found = compare_threads(session.run, feeds)
    assert (found.calls, found.mismatches) == (504, 0)


def test_what_coreml_refuses_is_an_error_in_its_words() -> None:
    def refuse(_path: str, **_options: object) -> None:
        raise Exception("damaged weights")

    fake = SimpleNamespace(
        models=SimpleNamespace(MLModel=refuse), ComputeUnit=SimpleNamespace(CPU_ONLY=1)
    )
    with pytest.raises(RuntimeError, match=r"could not load a\.mlpackage: damaged weights"):
        on("darwin", tools=fake).load([Path("a.mlpackage")], "cpu", SessionOptions())


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [("cuda", "fp32", "device 'cuda'"), ("cpu", "int8", "precision 'int8'")],
)
def test_what_it_cannot_compute_is_refused(device: str, precision: str, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        get_runtime("coreml").load([Path("x")], device, SessionOptions(precision))


def test_a_size_that_may_vary_is_open() -> None:
    limits = [SimpleNamespace(lowerBound=1, upperBound=4)] + [
        SimpleNamespace(lowerBound=n, upperBound=n) for n in (3, 16, 12)
    ]
    array = SimpleNamespace(
        shape=[1, 3, 16, 12], shapeRange=SimpleNamespace(sizeRanges=limits), dataType=65552
    )
    feature = SimpleNamespace(name="input", type=SimpleNamespace(multiArrayType=array))
    spec = SimpleNamespace(description=SimpleNamespace(input=[feature], output=[]))
    assert coreml.declared(spec) == ((TensorInfo("input", ("?", 3, 16, 12), "float16"),), ())
