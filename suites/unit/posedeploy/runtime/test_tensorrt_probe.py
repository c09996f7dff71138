"""Every reason why TensorRT cannot run here is a code of its own; none is found by crashing."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from posedeploy.convert import built_for, conversion_availability
from posedeploy.runtime import Availability, Code, SessionOptions
from posedeploy.runtime.host import PROBE_SECONDS, CudaDevice, CudaDevices, Host
from posedeploy.runtime.tensorrt import (
    KernelCache,
    TensorRT,
    cache_file,
    prepare_process,
    target,
)
from posedeploy.runtime.tensorrt_rtx import RUNTIME

DEVICE = CudaDevices(Code.AVAILABLE, "", "13.0", (CudaDevice("NVIDIA H200", "9.0"),))


@dataclass
class Machine:
    """A machine on which TensorRT runs, but for what a test takes away."""

    platform: str = "linux"
    modules: tuple[str, ...] = ("tensorrt", "polygraphy")
    distributions: dict[str, str] = field(default_factory=lambda: {"tensorrt-cu13": "11.4.0"})
    cuda: CudaDevices = DEVICE
    started: tuple[int, str] = (0, "")
    tried: list[str] = field(default_factory=list)

    def run(self, code: str, seconds: float) -> tuple[int, str]:
        assert seconds > PROBE_SECONDS, "a cold disk has gigabytes to read"
        self.tried.append(code)
        return self.started

    def version(self, *names: str) -> str:
        return next((self.distributions[n] for n in names if n in self.distributions), "")

    @property
    def host(self) -> Host:
        installed = self.modules.__contains__
        return Host(self.platform, installed, self.version, self.run, lambda: self.cuda)


def on(machine: Machine) -> Availability:
    """Probes a machine."""
    return TensorRT(machine.host).probe()


OLD_DRIVER = CudaDevices(Code.AVAILABLE, "", "12.4", DEVICE.devices)
NO_DEVICE = CudaDevices(Code.NO_DEVICE, "the driver shows no device", "12.4")
NO_DRIVER = CudaDevices(Code.NO_DRIVER, "no NVIDIA driver: libcuda.so.1: not found")


@pytest.mark.parametrize(
    ("machine", "code", "reason"),
    [
        (Machine(platform="darwin"), Code.WRONG_OS, "no TensorRT for darwin"),
        (Machine(modules=("polygraphy",)), Code.NOT_INSTALLED, "pip install tensorrt"),
        (Machine(modules=("tensorrt",)), Code.NOT_INSTALLED, "pip install polygraphy"),
        (Machine(distributions={"tensorrt": "8.6.1"}), Code.VERSION_TOO_OLD, "older than 10.0"),
        (Machine(cuda=NO_DRIVER), Code.NO_DRIVER, "libcuda.so.1"),
        (Machine(cuda=NO_DEVICE), Code.NO_DEVICE, "shows no device"),
        (Machine(cuda=OLD_DRIVER), Code.VERSION_TOO_OLD, "CUDA 12.4; this TensorRT needs 13.0"),
        (Machine(started=(-11, "")), Code.BROKEN_INSTALL, "killed by signal 11"),
        (Machine(started=(1, "libnvinfer.so")), Code.BROKEN_INSTALL, "status 1): libnvinfer.so"),
        (Machine(started=(124, "hang: x")), Code.PROBE_TIMEOUT, "TensorRT did not end: hang: x"),
    ],
)
def test_what_is_missing_is_a_code_and_a_line(machine: Machine, code: Code, reason: str) -> None:
    found = on(machine)
    assert found.code is code
    assert reason in found.reason


def test_the_library_is_touched_last_and_in_a_child() -> None:
    without = Machine(cuda=NO_DRIVER)
    on(without)
    assert without.tried == []  # it would have crashed
    whole = Machine()
    assert on(whole) == Availability(Code.AVAILABLE, "", "11.4.0")
    assert "use_device(0)" in whole.tried[0], "a driver may refuse a CUDA runtime that loads"
    assert "tensorrt.Builder" in whole.tried[0]


def on_rtx(cuda: CudaDevices, *modules: str) -> Availability:
    """Probes TensorRT for RTX on a machine with this driver."""
    machine = Machine(
        modules=modules or ("tensorrt_rtx_bindings", "polygraphy"),
        distributions={"tensorrt-rtx-cu13-bindings": "1.7.1.116"}, cuda=cuda,
    )  # fmt: skip
    return replace(RUNTIME, host=machine.host).probe()


@pytest.mark.parametrize(
    ("capability", "code"),
    [
        ("7.0", Code.NO_DEVICE), ("7.5", Code.AVAILABLE), ("8.9", Code.AVAILABLE),
        ("9.0", Code.NO_DEVICE), ("10.0", Code.NO_DEVICE), ("12.0", Code.AVAILABLE),
    ],
)  # fmt: skip
def test_tensorrt_for_rtx_runs_on_some_compute_capabilities(capability: str, code: Code) -> None:
    device = CudaDevice("a GPU", capability)
    found = on_rtx(replace(DEVICE, devices=(device,)))
    assert (found.code, found.version) == (code, "1.7.1.116")
    words = (
        "a GPU has compute capability {}; TensorRT for RTX runs on 7.5, 8.0, 8.6, 8.9, 12.0, 12.1"
    )
    assert found.reason == ("" if found.ok else words.format(capability))
    assert conversion_availability("tensorrt-rtx", found).ok, "its builder needs no device"


def test_tensorrt_for_rtx_converts_without_a_driver_and_not_without_its_library() -> None:
    without_driver = on_rtx(NO_DRIVER)
    assert without_driver.code is Code.NO_DRIVER
    assert conversion_availability("tensorrt-rtx", without_driver).ok
    missing = on_rtx(DEVICE, "polygraphy")
    assert missing.code is Code.NOT_INSTALLED
    assert "python -m pip install 'posedeploy[tensorrt-rtx]'" in missing.reason
    assert not conversion_availability("tensorrt-rtx", missing).ok
    assert not conversion_availability("tensorrt", without_driver).ok, "it builds on the device"


def test_an_engine_is_not_loaded_on_a_device_that_it_cannot_run_on(tmp_path: Path) -> None:
    runtime = replace(RUNTIME, host=Machine().host)
    with pytest.raises(RuntimeError, match=r"compute capability 9\.0; TensorRT for RTX runs on"):
        runtime.load([tmp_path / "end2end.engine"], "cuda", SessionOptions())


class FakeCache:
    """NVIDIA's runtime cache: it takes what it wrote itself."""

    def __init__(self) -> None:
        self.content = b"kernels"

    def deserialize(self, blob: bytes) -> bool:
        return blob.startswith(b"kernels")

    def serialize(self) -> bytes:
        return self.content


@pytest.mark.parametrize("there", [b"", b"kernels", b"of another driver"])
def test_kernels_are_kept_for_the_next_session(tmp_path: Path, there: bytes) -> None:
    engine, cache = MagicMock(), FakeCache()
    engine.create_runtime_config().create_runtime_cache.return_value = cache
    path = tmp_path / "kept" / "x.kernels"
    if there:
        path.parent.mkdir()
        path.write_bytes(there)
    kept = KernelCache(path, engine)
    engine.create_execution_context.assert_called_once_with(engine.create_runtime_config())
    kept.write()
    assert path.read_bytes() == b"kernels"
    written = path.stat().st_mtime_ns
    KernelCache(path, engine).write()
    assert path.stat().st_mtime_ns == written, "nothing new was compiled"


def test_kernels_are_of_one_engine_device_and_version(tmp_path: Path) -> None:
    engine, card = tmp_path / "end2end.engine", CudaDevice("NVIDIA RTX 4090", "8.9")
    engine.write_bytes(b"plan")
    path = cache_file(engine, card, "1.7.1")
    assert path.name.endswith("_NVIDIA-RTX-4090_1.7.1.kernels")
    assert path != cache_file(engine, card, "1.8.0")
    engine.write_bytes(b"another plan")
    assert path != cache_file(engine, card, "1.7.1")


@pytest.mark.parametrize("distributions", [{"tensorrt-cu12": "10.16.1"}, {"tensorrt": "10.9"}])
def test_packages_for_cuda_12_run_on_its_drivers(distributions: dict[str, str]) -> None:
    assert on(Machine(distributions=distributions, cuda=OLD_DRIVER)).ok


@pytest.mark.parametrize(
    ("distributions", "first"),
    [({"tensorrt-cu12": "10.16.1"}, "cuda_runtime"), ({"tensorrt-cu13": "11.4.0"}, "cu13"),
     ({}, "cuda_runtime")],
)  # fmt: skip
def test_the_cuda_runtime_is_the_one_that_tensorrt_was_built_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distributions: dict[str, str], first: str
) -> None:
    """Torch brings CUDA 13's runtime, which a driver of CUDA 12 refuses."""
    importlib.import_module("polygraphy.logger")  # before there is nowhere to find it
    places = {name: tmp_path / "nvidia" / name / "lib" for name in ("cu13", "cuda_runtime")}
    for place in places.values():
        place.mkdir(parents=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    host, path = Machine(distributions=distributions).host, [str(tmp_path), str(tmp_path)]
    prepare_process(host, path)
    last = next(name for name in places if name != first)
    expected = ["/mine", str(places[first]), str(places[last])]
    assert os.environ["LD_LIBRARY_PATH"].split(os.pathsep) == expected
    prepare_process(host, path)
    assert os.environ["LD_LIBRARY_PATH"].split(os.pathsep) == expected


def test_an_engine_is_tied_to_version_and_device() -> None:
    assert target(Machine().host) == {
        "compute_capability": "9.0", "device": "NVIDIA H200", "tensorrt": "11.4.0"
    }  # fmt: skip
    assert target(Machine(cuda=NO_DEVICE).host) == {}
    assert built_for("tensorrt") == target()


def test_files_of_other_backends_run_anywhere() -> None:
    assert built_for("onnxruntime") == {}
