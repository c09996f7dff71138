"""PPLNN's adapter over a fake `pyppl`, and the probe that detects another package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fixtures.fake_pyppl import FLOAT16, FUSION, KERNEL_TYPE, RC_UNSUPPORTED, Pyppl
from fixtures.threads import THREADS, compare_threads
from posedeploy.runtime import Code, SessionOptions, get_runtime
from posedeploy.runtime.host import CudaDevice, CudaDevices, Host
from posedeploy.runtime.pplnn import Pplnn

NN = """
class onnx:
    class RuntimeBuilderFactory: Create = None
class x86: pass
def GetVersionString(): return "{version}"
"""


@pytest.fixture
def double(tmp_path: Path) -> Path:
    """A graph that doubles its input."""
    shape = [1, 3, 2, 2]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Add", ["input", "input"], ["output"])], "double",
        [value("input", TensorProto.FLOAT, shape)], [value("output", TensorProto.FLOAT, shape)],
    )  # fmt: skip
    path = tmp_path / "end2end.onnx"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, path)
    return path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Pyppl:
    made = Pyppl()
    made.install(monkeypatch)
    return made


def load(path: Path, device: str = "cpu", precision: str = "fp32") -> Any:
    return get_runtime("pplnn").load([path], device, SessionOptions(precision))


def test_it_runs_with_graph_fusion_off_and_copies_what_it_gives(fake: Pyppl, double: Path) -> None:
    session = load(double)
    assert fake.configured == [("x86", FUSION, 0)]
    assert session.effective_options == {
        "inference_precision": "fp32", "engine": "x86", "graph_fusion": "off"
    }  # fmt: skip
    assert [(i.name, i.shape, i.dtype) for i in session.inputs] == [
        ("input", (1, 3, 2, 2), "float32")
    ]
    one = session.run({"input": np.ones((1, 3, 2, 2))})["output"]
    two = session.run({"input": np.full((1, 3, 2, 2), 2.0)})["output"]
    assert (one == 2).all(), "the next run has changed what this one gave"
    assert (two == 4).all()
    assert one.dtype == np.float32


def test_threads_do_not_get_each_others_results(fake: Pyppl, double: Path) -> None:
    session = load(double)
    feeds = [{"input": np.full((1, 3, 2, 2), value)} for value in range(THREADS)]
    found = compare_threads(session.run, feeds)
    assert (found.calls, found.mismatches) == (504, 0)


def test_shapes_that_are_not_known_before_a_run_are_left_open(fake: Pyppl, double: Path) -> None:
    fake.sized = False
    session = load(double)
    assert session.outputs[0].shape == ()
    assert session.run({"input": np.ones((1, 3, 2, 2))})["output"].shape == (1, 3, 2, 2)


def test_a_status_is_an_error_in_pplnns_own_words(fake: Pyppl, double: Path) -> None:
    fake.run_status = RC_UNSUPPORTED
    session = load(double)
    with pytest.raises(RuntimeError, match=r"^PPLNN: run: unsupported$"):
        session.run({"input": np.ones((1, 3, 2, 2))})
    session._runtime.GetInputTensor(0).status = RC_UNSUPPORTED
    with pytest.raises(RuntimeError, match="input 'input': unsupported"):
        session.run({"input": np.ones((1, 3, 2, 2))})


def test_a_file_that_is_refused_is_named(fake: Pyppl, double: Path) -> None:
    fake.load_status = RC_UNSUPPORTED
    with pytest.raises(RuntimeError, match=r"PPLNN: loading end2end\.onnx: unsupported"):
        load(double)


def test_what_gives_nothing_is_an_error(fake: Pyppl, double: Path) -> None:
    fake.has_runtime = False
    with pytest.raises(RuntimeError, match=r"could not make a runtime of end2end\.onnx"):
        load(double)


def test_an_engine_that_cannot_be_made_is_an_error(
    fake: Pyppl, double: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["pyppl.nn"].x86.EngineFactory, "Create", lambda _: None)
    with pytest.raises(RuntimeError, match="could not make its x86 engine"):
        load(double)


def test_an_output_that_cannot_be_read_is_an_error(fake: Pyppl, double: Path) -> None:
    session = load(double)
    session._runtime._out[0].ConvertToHost = lambda: None
    with pytest.raises(RuntimeError, match="output 'output' could not be copied"):
        session.run({"input": np.ones((1, 3, 2, 2))})


def test_cuda_computes_in_fp16_on_the_device_that_is_asked_for(fake: Pyppl, double: Path) -> None:
    session = load(double, "cuda:1", "fp16")
    assert fake.devices == [1]
    assert session.effective_options == {"inference_precision": "fp16", "engine": "cuda"}
    assert fake.configured == [("cuda", KERNEL_TYPE, FLOAT16)]


@pytest.mark.parametrize(
    ("device", "precision", "message"),
    [
        ("cpu", "fp16", "computes in fp32 on cpu; asked for fp16"),
        ("cuda", "fp32", "computes in fp16 on cuda; asked for fp32"),
        ("npu", "fp32", "device 'npu' is not one of"),
    ],
)
def test_what_it_cannot_compute_is_refused(
    fake: Pyppl, double: Path, device: str, precision: str, message: str
) -> None:
    with pytest.raises(RuntimeError, match=message):
        load(double, device, precision)


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> None:
    """Puts a package `pyppl` of these modules in front, here and in child processes."""
    (folder / "pyppl").mkdir()
    for name, code in modules.items():
        (folder / "pyppl" / f"{name}.py").write_text(code)
    monkeypatch.delitem(sys.modules, "pyppl", raising=False)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_without_it_the_probe_says_how_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyppl", None)
    found = get_runtime("pplnn").probe()
    assert found.code is Code.NOT_INSTALLED
    assert "build it from source" in found.reason
    assert "docs/backends/pplnn.md" in found.reason


def test_the_package_of_the_same_name_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, monkeypatch, __init__="class PyPPL: pass", pipeline="")
    found = get_runtime("pplnn").probe()
    assert found.code is Code.NOT_INSTALLED
    assert "another project, not PPLNN's" in found.reason


@pytest.mark.parametrize(
    ("nn", "code", "reason"),
    [
        (NN.format(version="0.9.2"), Code.AVAILABLE, ""),
        (NN.format(version="0.6.0"), Code.VERSION_TOO_OLD, "0.6.0 is older than 0.9"),
        (NN.format(version="0.9.2").replace("x86", "arm"), Code.NO_DEVICE, "the x86 engine"),
        ("import ctypes\nctypes.string_at(0)", Code.BROKEN_INSTALL, "signal 11"),
        ("raise ImportError('libppl.so')", Code.BROKEN_INSTALL, "libppl.so"),
        ("OnnxRuntimeBuilderFactory = None", Code.BROKEN_INSTALL, "onnx"),
    ],
)
def test_what_the_probe_says_of_a_real_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nn: str, code: Code, reason: str
) -> None:
    package(tmp_path, monkeypatch, __init__="", nn=nn, common="")
    found = get_runtime("pplnn").probe()
    assert found.code is code, found.reason
    assert reason in found.reason


def test_cuda_needs_an_engine_and_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_cuda = NN.format(version="0.9.2") + "\nclass cuda: pass\n"
    package(tmp_path, monkeypatch, __init__="", nn=with_cuda, common="")
    none = CudaDevices(Code.NO_DRIVER, "no NVIDIA driver")
    assert Pplnn(Host(cuda=lambda: none)).probe_device("cuda").code is Code.NO_DRIVER
    one = CudaDevices(Code.AVAILABLE, "", "12.8", (CudaDevice("a GPU", "9.0"),))
    assert Pplnn(Host(cuda=lambda: one)).probe_device("cuda").ok
