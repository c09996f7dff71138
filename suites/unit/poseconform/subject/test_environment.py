"""The fingerprint of a run never fails."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import cv2
import pytest

from fixtures.fake_subject import FakeSubject
from poseconform.subject.environment import (
    Availabilities,
    fingerprint,
    git_commit,
    package_versions,
)
from poseconform.subject.warping import own_warp
from posedeploy.runtime import Availability, Code
from posedeploy.runtime.machine import cpu_facts, cpu_flags, gpu_facts

CPUINFO = """processor\t: 0
model name\t: A Fast One
flags\t\t: fpu avx2 f16c avx512f
bogomips\t: 1: 2

processor\t: 1
model name\t: Another
"""


def test_a_cpu_has_a_name_and_the_flags_that_matter(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(CPUINFO)
    facts = cpu_facts(path)
    assert facts["model"] == "A Fast One"
    assert facts["isa"] == "avx2 avx512f f16c"
    assert cpu_flags(path) == frozenset({"fpu", "avx2", "f16c", "avx512f"})


def test_features_are_what_arm_calls_flags(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nFeatures : fp asimd bf16\n")
    assert cpu_facts(path)["isa"] == "bf16"
    assert cpu_facts(path)["model"] == "unknown"


def test_a_system_without_facts_is_no_error(tmp_path: Path) -> None:
    assert set(cpu_facts(tmp_path / "none")) == {"count", "machine"}
    assert cpu_flags(tmp_path / "none") is None


def test_the_fingerprint_is_json_and_names_probed_backends() -> None:
    availabilities = Availabilities(
        FakeSubject(), _running={"x": Availability(Code.AVAILABLE, "", "1.2")}
    )
    facts = fingerprint(availabilities)
    assert facts["backends"] == {"x": "available 1.2"}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["packages"]["pytest"]
    assert facts["packages"]["fake"] == "1.0", "of the subject"
    assert facts["warp"] == {"opencv": cv2.__version__, "sha256": own_warp().sha256}


def test_only_installed_packages_have_a_version() -> None:
    assert set(package_versions(["numpy", "no-such-package"])) == {"numpy"}


def test_a_commit_has_a_name_in_a_checkout_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert git_commit(tmp_path) == ""
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], cwd=tmp_path, check=True)
    subprocess.run([*git, "commit", "-qm", "x"], cwd=tmp_path, check=True)
    clean = git_commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == clean + "+"


@pytest.mark.parametrize("error", [OSError("no git"), subprocess.TimeoutExpired("git", 10)])
def test_without_git_there_is_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert git_commit(tmp_path) == ""


def test_gpus_and_their_driver_are_named_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_facts() == {"gpu": "none"}
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA T4, 550.1'\necho 'NVIDIA L4, 550.1'\n")
    tool.chmod(0o755)
    assert gpu_facts() == {"gpu": "NVIDIA T4; NVIDIA L4", "driver": "550.1"}
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert gpu_facts() == {"gpu": "none"}
