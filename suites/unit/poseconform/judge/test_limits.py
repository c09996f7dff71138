"""What a call may take grows with what PyTorch took, and has a floor."""

from __future__ import annotations

import pytest

from poseconform.judge.limits import DEVICE_IDLE_SECONDS, UNKNOWN_SECONDS, Limits, Scale
from posedeploy.runtime.processes import HANG_SECONDS

LIMITS = Limits()
SCALE = Scale(60.0, 30.0)


def test_a_quick_model_has_the_floor_and_a_slow_one_its_own_time() -> None:
    assert SCALE.limit(0.1).cpu == 60.0
    assert SCALE.limit(10.0).cpu == 300.0
    assert SCALE.limit(10.0, images=5).cpu == 1500.0


def test_a_model_whose_time_is_not_known_is_taken_for_a_slow_one() -> None:
    assert SCALE.limit().cpu == SCALE.limit(UNKNOWN_SECONDS).cpu
    assert SCALE.limit(images=100).cpu == 30.0 * UNKNOWN_SECONDS * 100


def test_a_call_without_a_factor_has_the_floor_alone() -> None:
    assert Scale(900.0).limit(1000.0, images=50).cpu == 900.0


@pytest.mark.parametrize(
    ("device", "idle"),
    [("cpu", HANG_SECONDS), ("cuda", DEVICE_IDLE_SECONDS), ("cuda:1", DEVICE_IDLE_SECONDS)],
)
def test_a_device_may_be_waited_for_longer(device: str, idle: float) -> None:
    assert SCALE.limit(1.0, device=device).idle == idle
    assert Scale(1.0, idle=1800.0).limit(device=device).idle == 1800.0


@pytest.mark.parametrize("scale", [LIMITS.load, LIMITS.run, LIMITS.client, LIMITS.evaluate])
def test_a_backend_that_hangs_costs_less_than_a_minute(scale: Scale) -> None:
    assert scale.limit(3.0).idle < 60.0


# (kind, PyTorch's CPU seconds an image, images, CPU seconds that it took) of honest cells
SLOWEST = {
    "the judge's evaluation of hourglass52 in CoreML at fp16": (LIMITS.evaluate, 2.26, 1, 127.6),
    "hourglass52 in ncnn, int8": (LIMITS.run, 2.26, 1, 0.12),
    "conversion of hourglass52 for ncnn, int8": (LIMITS.convert, 2.26, 1, 21.3),
}


@pytest.mark.parametrize("name", SLOWEST)
def test_the_slowest_that_was_measured_is_five_times_faster_than_its_limit(name: str) -> None:
    scale, pytorch, images, seconds = SLOWEST[name]
    assert scale.limit(pytorch, images).cpu >= 5 * seconds
