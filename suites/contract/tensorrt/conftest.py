"""Real bindings of four TensorRT versions over stand-in libraries: tox -e tensorrt-contract."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from .scenarios import SCENARIOS
from .stand_ins import LIBRARIES, compile_library, compiler
from .stubs import write_stubs

# A folder with one folder a version, made by the tox env: `pip install --target` of the bindings
VARIABLE = "POSECONFORM_TENSORRT_BINDINGS"
VERSIONS = ("10.0.1", "10.16.1", "11.0.0", "11.4.0")
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Bindings:
    """One version.

    Attributes:
        version: Of TensorRT.
        stub: Types of its module.
        environment: Of a process that can import it and that finds the stand-ins.
    """

    version: str
    stub: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python with this version."""
        return subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


@pytest.fixture(scope="session")
def bindings_root() -> Path:
    """Where the bindings are; without the variable, the reason why nothing is tested."""
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"unavailable:tool-missing: {VARIABLE} is not set; tox -e tensorrt-contract")
    if compiler() is None:
        pytest.fail("no C compiler (cc, gcc, clang) to make the stand-in libraries with")
    return Path(named)


@pytest.fixture(scope="session")
def stand_ins(bindings_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all stand-in libraries."""
    folder = tmp_path_factory.mktemp("stand-ins")
    for name in LIBRARIES:
        compile_library(name, folder)
    return folder


@pytest.fixture(scope="session", params=VERSIONS)
def bindings(
    request: pytest.FixtureRequest,
    bindings_root: Path,
    stand_ins: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Bindings:
    """Each version in turn."""
    version = str(request.param)
    package = bindings_root / version
    assert (package / "tensorrt_bindings").is_dir(), f"no bindings in {package}"
    folder = tmp_path_factory.mktemp(f"stubs-{version}")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("STAND_IN_")}
    environment = {
        **inherited,
        "LD_LIBRARY_PATH": str(stand_ins),
        "PYTHONPATH": str(package),
        "POSEDEPLOY_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return Bindings(version, write_stubs(folder, environment), environment)


@dataclass(frozen=True)
class Outcomes:
    """What became of the scenarios with one version."""

    failures: Mapping[str, str]
    called: frozenset[str]


@pytest.fixture(scope="session")
def outcomes(bindings: Bindings, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """All scenarios, in one process of this version."""
    folder = tmp_path_factory.mktemp(f"scenarios-{bindings.version}")
    done = bindings.run("-m", f"{__package__}.drive", str(bindings.stub), str(folder))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert set(answer["failures"]) <= set(SCENARIOS)
    return Outcomes(answer["failures"], frozenset(answer["called"]))
