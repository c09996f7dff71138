"""What a probe returns for a backend that is missing, old or broken: no exception."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from posedeploy.runtime import BACKENDS, Code, backend_row, get_runtime
from posedeploy.runtime.host import too_old

# backend -> the module that its probe imports
MODULES = {
    "coreml": "coremltools",
    "litert": "ai_edge_litert",
    "mnn": "MNN",
    "ncnn": "ncnn",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "torchscript": "torch",
}
FakePackage = Callable[..., None]
SEGFAULT = "import ctypes\nctypes.string_at(0)\n"
NO_LIBRARY = "raise ImportError('libomp.so.5: cannot open shared object file')\n"


@pytest.fixture
def fake_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePackage:
    """Puts a package in front of the installed one, here and in child processes."""

    def make(module: str, distribution: str, version: str, code: str = "") -> None:
        package = tmp_path / module
        package.mkdir()
        (package / "__init__.py").write_text(code)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata)
        monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return make


# No wheel of PPLNN exists, and another project has the name of its package: test_runtime_pplnn.py
APART = {"pplnn"}


def test_every_backend_that_converts_on_a_cpu_is_probed_here() -> None:
    assert set(MODULES) == {row.name for row in BACKENDS if "cpu" in row.devices} - APART


@pytest.mark.parametrize(("backend", "module"), MODULES.items())
def test_a_missing_package_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, backend: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what the import system takes for absent
    found = get_runtime(backend).probe()
    assert found.code is Code.NOT_INSTALLED
    assert f"pip install {module}" in found.reason


@pytest.mark.parametrize(("backend", "module"), MODULES.items())
def test_an_old_package_is_too_old_and_is_not_imported(
    fake_package: FakePackage, backend: str, module: str
) -> None:
    fake_package(module, backend_row(backend).distribution, "0.0.1", SEGFAULT)
    found = get_runtime(backend).probe()
    assert (found.code, found.version) == (Code.VERSION_TOO_OLD, "0.0.1")
    assert backend_row(backend).min_version in found.reason


@pytest.mark.parametrize(("backend", "module"), MODULES.items())
def test_a_library_that_crashes_is_a_broken_install(
    fake_package: FakePackage, backend: str, module: str
) -> None:
    fake_package(module, backend_row(backend).distribution, "9999.1", SEGFAULT)
    found = get_runtime(backend).probe()
    assert found.code is Code.BROKEN_INSTALL
    assert "signal 11" in found.reason
    assert found.version == "9999.1"


@pytest.mark.parametrize("backend", ["ncnn", "openvino"])
def test_a_library_that_does_not_load_is_a_broken_install(
    fake_package: FakePackage, backend: str
) -> None:
    fake_package(MODULES[backend], backend, "9999.1", NO_LIBRARY)
    found = get_runtime(backend).probe()
    assert found.code is Code.BROKEN_INSTALL
    assert "libomp.so.5" in found.reason


def test_a_package_without_its_native_part_is_a_broken_install(fake_package: FakePackage) -> None:
    fake_package("ncnn", "ncnn", "9999.1", "")  # imports, and has no Net
    found = get_runtime("ncnn").probe()
    assert found.code is Code.BROKEN_INSTALL
    assert "Net" in found.reason


@pytest.mark.parametrize("backend", MODULES)
def test_an_installed_backend_is_available_with_its_version(backend: str) -> None:
    pytest.importorskip(MODULES[backend])
    found = get_runtime(backend).probe()
    expected = Code.WRONG_OS if (backend, sys.platform) == ("coreml", "linux") else Code.AVAILABLE
    assert found.code is expected, found.reason
    assert found.version
    assert not too_old(found.version, backend_row(backend).min_version)
