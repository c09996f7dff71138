"""Build, plan and run of small graphs over fakes of TensorRT: no bindings, libraries or device.

`tox -e tensorrt-contract` runs the same scenarios over the real bindings of four versions.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from posedeploy.convert import tensorrt as converter
from posedeploy.errors import ConversionError
from posedeploy.paths import CACHE_VARIABLE
from posedeploy.runtime import SessionOptions, tensorrt
from posedeploy.runtime.host import CudaDevice, CudaDevices, Host
from posedeploy.runtime.tensorrt import TensorRT, parts
from posedeploy.runtime.types import Code
from suites.contract.tensorrt import fakes, plain, scenarios

DEVICE = CudaDevices(Code.AVAILABLE, "", "13.0", (CudaDevice("Fake GPU", "9.0"),))


class HostMemory:
    """Polygraphy's wrapper of the CUDA runtime, with memory of this process for a device's."""

    def __init__(self) -> None:
        self.handle = SimpleNamespace(cudaSetDevice=self._set_device)
        self.devices: list[tuple[int, int]] = []  # the thread and its device
        self._buffers: dict[int, Any] = {}

    def _set_device(self, number: int) -> int:
        self.devices.append((threading.get_ident(), number))
        return 0

    def check(self, status: int) -> None:
        assert status == 0

    def malloc(self, nbytes: int) -> int:
        memory = ctypes.create_string_buffer(max(nbytes, 1))
        self._buffers[ctypes.addressof(memory)] = memory
        return ctypes.addressof(memory)

    def free(self, ptr: int) -> None:
        self._buffers.pop(ptr, None)

    def memcpy(self, dst: int, src: int, nbytes: int, **how: Any) -> None:
        assert how["stream_ptr"], "the default stream"
        ctypes.memmove(dst, src, nbytes)

    def create_stream(self) -> int:
        return 1

    def destroy_stream(self, ptr: int) -> None:
        assert ptr == 1

    def stream_synchronize(self, ptr: int) -> None:
        assert ptr == 1


@pytest.fixture(scope="module", params=["10.5.0", "10.16.1", "11.4.0"])
def version(request: pytest.FixtureRequest) -> Iterator[str]:
    """A version of TensorRT to import, by fakes; Polygraphy remembers which one it has seen."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in sys.modules if n.split(".")[0] in {"polygraphy", "tensorrt"}]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "tensorrt", None)  # to be put back
        fakes.install(plain.bindings(request.param), None, [])
        from polygraphy.cuda import cuda

        patch.setattr(cuda, "G_CUDA", HostMemory())
        yield request.param
        for name in [n for n in sys.modules if n.split(".")[0] == "polygraphy"]:
            del sys.modules[name]


@pytest.fixture
def machine(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine with a device and that version."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt, "RUNTIME", TensorRT(Host(cuda=lambda: DEVICE)))
    here = {"compute_capability": "9.0", "device": "Fake GPU", "tensorrt": version}
    monkeypatch.setattr(converter, "target", lambda: here)
    return version


@pytest.mark.parametrize("name", scenarios.SCENARIOS)
def test_builds_and_runs(machine: str, name: str, tmp_path: Path) -> None:
    scenarios.SCENARIOS[name](tmp_path)


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0]), (1, [1]), (4, [4]), (5, [2, 3]), (8, [4, 4]), (9, [3, 3, 3]), (11, [3, 4, 4])],
)
def test_a_batch_is_run_in_parts_that_are_even(count: int, sizes: list[int]) -> None:
    slices = list(parts(count, 4))
    assert [part.stop - part.start for part in slices] == sizes
    assert [row for part in slices for row in range(count)[part]] == list(range(count))


def test_timings_of_a_build_are_there_for_the_next_one(machine: str, tmp_path: Path) -> None:
    scenarios.converted(tmp_path, "fp32", "static")
    cache = tmp_path / "cache" / "tensorrt" / f"9.0_Fake-GPU_{machine}.timing"
    assert cache.read_bytes() == b"timings:" + machine.encode()
    cache.write_bytes(b"timings:" + machine.encode())
    facts = tensorrt.read_build(tmp_path / "work" / "end2end.engine")
    assert facts["device"] == "Fake GPU"
    assert facts["tensorrt"] == machine
    assert facts["network"] == ("builder flags" if machine == "10.5.0" else "strongly typed")


def test_an_engine_that_somebody_else_built_is_run_and_its_precision_is_unknown(
    machine: str, tmp_path: Path
) -> None:
    _, engine = scenarios.converted(tmp_path, "fp32", "static")
    engine.with_name(tensorrt.BUILD_FILE).unlink()
    session = scenarios.load(engine, "fp16")
    assert session.effective_options["inference_precision"] == "unknown"
    assert session.run({"input": scenarios.images(1)})["output"].shape == (1, 4, 16, 12)


def test_without_a_device_the_library_is_not_touched(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = CudaDevices(Code.NO_DEVICE, "the driver shows no device")
    runtime = TensorRT(Host(cuda=lambda: none))
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # importing it would raise ImportError
    with pytest.raises(RuntimeError, match="no-device: the driver shows no device"):
        runtime.load([tmp_path / "end2end.engine"], "cuda", SessionOptions())


def test_a_device_that_runs_out_of_memory_reports_the_log_of_tensorrt(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = sys.modules["tensorrt"]
    _, engine = scenarios.converted(tmp_path, "fp32", "static")

    def refuse(self: Any, strategy: object = None) -> None:
        self._logger.log(trt.ILogger.Severity.WARNING, "not this")
        self._logger.log(trt.ILogger.Severity.ERROR, "out of memory")

    monkeypatch.setattr(trt.ICudaEngine, "create_execution_context", refuse)
    with pytest.raises(RuntimeError, match="out of memory") as caught:
        scenarios.load(engine)
    assert "not this" not in str(caught.value)


def test_a_run_that_fails_reports_the_log_of_tensorrt(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt = sys.modules["tensorrt"]
    _, engine = scenarios.converted(tmp_path, "fp32", "static")
    session = scenarios.load(engine)

    def fail(self: Any, stream_handle: int) -> bool:
        self._logger.log(trt.ILogger.Severity.ERROR, "illegal memory access")
        return False

    monkeypatch.setattr(trt.IExecutionContext, "execute_async_v3", fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        session.run({"input": scenarios.images(1)})


def test_each_thread_that_runs_a_session_uses_its_device(machine: str, tmp_path: Path) -> None:
    """CUDA's current device is a thread's, and the first one until it is set."""
    from polygraphy.cuda import cuda

    _, engine = scenarios.converted(tmp_path, "fp32", "static")
    devices = CudaDevices(Code.AVAILABLE, "", "13.0", 2 * DEVICE.devices)
    session = TensorRT(Host(cuda=lambda: devices)).load([engine], "cuda:1", SessionOptions())
    feed = {"input": scenarios.images(1)}
    with ThreadPoolExecutor(1) as threads:
        ident = threads.submit(lambda: (session.run(feed), threading.get_ident())[1]).result()
    assert (ident, 1) in cuda.wrapper().devices


def test_what_a_session_holds_on_the_device_is_freed_with_it(machine: str, tmp_path: Path) -> None:
    from polygraphy.cuda import cuda

    _, engine = scenarios.converted(tmp_path, "fp32", "static")
    buffers = cuda.wrapper()._buffers
    others = set(buffers)
    session = scenarios.load(engine)
    session.run({"input": scenarios.images(1)})
    assert set(buffers) - others
    (ended,) = [e for e in weakref.finalize._registry if e.peek()[0] is session]  # type: ignore[attr-defined]
    assert ended.atexit, "nor may it outlive the program"
    del session
    assert not ended.alive  # codespell:ignore alive
    assert not set(buffers) - others


def test_a_builder_that_does_not_start_is_a_failed_conversion(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: Any, logger: object) -> None:
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(sys.modules["tensorrt"].Builder, "__init__", nothing)
    with pytest.raises(ConversionError, match="factory function returned nullptr"):
        scenarios.converted(tmp_path, "fp32", "static")


def test_a_cuda_runtime_that_refuses_is_an_error(
    machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from polygraphy.cuda import cuda

    def missing() -> None:
        raise OSError("libcudart.so: cannot open shared object file")

    monkeypatch.setattr(cuda, "G_CUDA", None)
    monkeypatch.setattr(cuda, "Cuda", missing)
    with pytest.raises(RuntimeError, match=r"libcudart\) does not take device 1: libcudart\.so"):
        tensorrt.use_device(1)
