"""A GPU belongs to one process at a time, and the CPU is not locked."""

from __future__ import annotations

import tempfile
from pathlib import Path

import filelock
import pytest

from poseconform.isolation.device_lock import device_lock, lock_path
from posedeploy.runtime import Device


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


CPU, GPU, SECOND = Device("cpu"), Device("cuda"), Device("cuda", 1)


@pytest.mark.parametrize("device", [GPU, SECOND])
def test_a_gpu_is_held_until_the_block_ends(device: Device) -> None:
    with device_lock(device), pytest.raises(filelock.Timeout), device_lock(device, 0.01):
        raise AssertionError("held twice")
    with device_lock(device, 0.01):
        assert lock_path(device).exists()


def test_another_gpu_is_free() -> None:
    with device_lock(GPU), device_lock(SECOND, 0.01):
        assert lock_path(GPU) != lock_path(SECOND)


def test_the_cpu_is_not_locked() -> None:
    with device_lock(CPU), device_lock(CPU, 0.01):
        assert not lock_path(CPU).exists()
