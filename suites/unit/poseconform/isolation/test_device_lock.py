"""A GPU belongs to one process at a time, and the CPU to all."""

from __future__ import annotations

import tempfile
from pathlib import Path

import filelock
import pytest

from poseconform.isolation.device_lock import device_lock, lock_path


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_is_held_until_the_block_ends(device: str) -> None:
    with device_lock(device), pytest.raises(filelock.Timeout), device_lock(device, 0.01):
        raise AssertionError("held twice")
    with device_lock(device, 0.01):
        assert lock_path(device).exists()


def test_another_gpu_is_free() -> None:
    with device_lock("cuda"), device_lock("cuda:1", 0.01):
        assert lock_path("cuda") != lock_path("cuda:1")


def test_the_cpu_is_not_locked() -> None:
    with device_lock("cpu"), device_lock("cpu", 0.01):
        assert not lock_path("cpu").exists()
