"""Probes: every reason why a backend cannot run is a code and a line, and none raises."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from posedeploy.runtime import BACKENDS, Availability, Code, backend_row, get_runtime
from posedeploy.runtime.host import (
    HOST,
    OUT_OF_TIME,
    distribution_version,
    installed_versions,
    is_installed,
    run_probe,
    too_old,
)  # fmt: skip

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with this source and version on the path, here and in child processes."""
    monkeypatch.syspath_prepend(tmp_path)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)

    def put(name: str, version: str = "2.0", source: str = "") -> None:
        (tmp_path / f"{name}.py").write_text(source)
        info = tmp_path / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )

    return put


def probe(check: str = "", name: str = "fakebackend") -> Availability:
    return HOST.probe_import(name, (name,), "1.5", check)


def test_a_backend_that_imports_is_available(install: Install) -> None:
    install("fakebackend")
    assert probe() == Availability(Code.AVAILABLE, "", "2.0")
    assert probe().ok
    assert "fakebackend" not in sys.modules  # imported in the child only


def test_a_backend_that_is_not_there_says_how_to_install_it() -> None:
    found = probe(name="no_such_backend")
    assert found.code is Code.NOT_INSTALLED
    assert "python -m pip install no_such_backend" in found.reason
    assert not found.ok


def test_what_this_process_has_imported_is_not_imported_again(install: Install) -> None:
    install("fakebackend", source="raise RuntimeError('imported in a child')")
    again = replace(HOST, is_imported=lambda module: module == "fakebackend")
    names = "fakebackend", ("fakebackend",), "1.5"
    assert again.probe_import(*names) == Availability(Code.AVAILABLE, "", "2.0")
    assert again.probe_import(*names, check="1 + 1").code is Code.BROKEN_INSTALL
    assert HOST.probe_import(*names).code is Code.BROKEN_INSTALL
    assert HOST.is_imported("pytest")
    assert not HOST.is_imported("fakebackend")


def test_an_old_backend_is_not_imported(install: Install) -> None:
    install("fakebackend", "1.4.9", "raise RuntimeError('imported')")
    reason = "fakebackend 1.4.9 is older than 1.5"
    assert probe() == Availability(Code.VERSION_TOO_OLD, reason, "1.4.9")


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("raise ImportError('libfoo.so: no such file')", r"exit status 1\): .*libfoo.so"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"killed by signal 11\)"),
        ("import os; os._exit(7)", r"exit status 7\)"),
    ],
)
def test_a_backend_that_does_not_import_is_broken_and_costs_nothing(
    install: Install, source: str, how: str
) -> None:
    install("fakebackend", "2.0", source)
    found = probe()
    assert (found.code, found.version) == (Code.BROKEN_INSTALL, "2.0")
    assert re.search(how, found.reason)


def test_a_check_can_fail_a_backend_that_imports(install: Install) -> None:
    install("fakebackend")
    assert probe("assert fakebackend.__name__ == 'fakebackend'").ok
    assert probe("raise SystemExit('no plugin')").code is Code.BROKEN_INSTALL


@pytest.mark.parametrize(
    ("code", "line"),
    [("time.sleep(60)", "hang: no CPU used for"), ("while True: pass", "still computing after")],
)
def test_a_probe_that_hangs_or_does_not_end_is_run_again_and_ended(
    tmp_path: Path, code: str, line: str
) -> None:
    count = f"import time; open({str(tmp_path / 'tries')!r}, 'a').write('x')\n"
    status, reason = run_probe(f"{count}{code}", seconds=1.0)
    assert status == OUT_OF_TIME
    assert line in reason
    assert (tmp_path / "tries").read_text() == "xx"


def test_a_probe_that_ends_in_its_second_try_is_fine(tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    code = f"""
import time
open({str(tries)!r}, 'a').write('x')
if len(open({str(tries)!r}).read()) < 2: time.sleep(60)
print('it runs')"""
    assert run_probe(code, seconds=1.0) == (0, "it runs")


def test_a_backend_that_does_not_import_in_time_is_not_broken(install: Install) -> None:
    install("fakebackend", "2.0", "import time; time.sleep(60)")
    found = HOST.probe_import("fakebackend", ("fakebackend",), "1.5", seconds=1.0)
    assert (found.code, found.version) == (Code.PROBE_TIMEOUT, "2.0")
    assert found.reason.startswith("import fakebackend did not end: hang: no CPU used for")
    assert not found.ok


def test_a_probe_gives_its_last_line() -> None:
    assert run_probe("print('a'); print('b')") == (0, "b")
    assert run_probe("") == (0, "")
    status, line = run_probe("raise ValueError('x')")
    assert (status, line) == (1, "ValueError: x")


@pytest.mark.parametrize(
    ("version", "minimum", "old"),
    [("1.9", "1.10", True), ("1.10", "1.10", False), ("2.0rc1", "2.0", True),
     ("2024.4", "2024.4", False), ("unreadable", "1.0", False)],
)  # fmt: skip
def test_versions_are_compared_as_versions(version: str, minimum: str, old: bool) -> None:
    assert too_old(version, minimum) is old


def test_what_cannot_be_looked_up_is_not_installed() -> None:
    assert not is_installed("no_such_module")
    assert not is_installed("no_such_package.module")
    assert not is_installed("")
    assert is_installed("json")
    assert distribution_version("no-such-distribution", "numpy")
    assert distribution_version("no-such-distribution") == ""


def install_over(site: Path, name: str, version: str) -> None:
    """Install a distribution with the module `shared`, as pip does: over what is there."""
    source = f"__version__ = {version!r}\n".encode()
    (site / "shared.py").write_bytes(source)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    digest = base64.urlsafe_b64encode(hashlib.sha256(source).digest()).decode().rstrip("=")
    (info / "RECORD").write_text(
        f"shared.py,sha256={digest},{len(source)}\n{info.name}/RECORD,,\n"
    )


@pytest.mark.parametrize("last", ["shared-cpu", "shared-gpu"])
def test_of_two_distributions_with_one_module_the_one_that_came_last_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """As onnxruntime 1.30.0 and onnxruntime-gpu 1.31.1, which one machine had."""
    monkeypatch.syspath_prepend(tmp_path)
    versions = {"shared-cpu": "1.30.0", "shared-gpu": "1.31.1"}
    for name in sorted(versions, key=lambda name: name == last):
        install_over(tmp_path, name, versions[name])
    assert distribution_version(*versions) == versions[last]
    assert installed_versions("numpy", *versions).keys() == {"numpy", last}
    (tmp_path / "shared.py").unlink()
    assert installed_versions(*versions) == {}


def test_onnxruntime_is_available_here() -> None:
    found = get_runtime("onnxruntime").probe()
    assert found.ok, found.reason
    assert found.version


def test_the_table_is_sorted_and_complete() -> None:
    names = [row.name for row in BACKENDS]
    assert names == sorted(set(names))
    for row in BACKENDS:
        assert backend_row(row.name) is row
        assert row.main_file.startswith("end2end.")
        assert row.devices
    with pytest.raises(KeyError, match=r"no backend 'nothing'; there are: .*onnxruntime"):
        backend_row("nothing")
