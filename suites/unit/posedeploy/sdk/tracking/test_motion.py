"""Constant velocity."""

from __future__ import annotations

import numpy as np
import pytest

from posedeploy.sdk.tracking.motion import Motion, Noise

NOISE = Noise(1 / 20, 1 / 160)
SIZES = np.array([100.0, 50.0])


def _walk(frames: int, noise: float = 0.0) -> tuple[Motion, np.ndarray]:
    """Two people, one who walks and one who stands."""
    rng = np.random.default_rng(0)
    place, speed = np.array([[0.0, 0.0], [300.0, 100.0]]), np.array([[6.0, -2.0], [0.0, 0.0]])
    motion = Motion.start(place, SIZES, NOISE)
    for _ in range(frames):
        place = place + speed
        measured = place + rng.normal(0, 1, place.shape) * noise
        motion = motion.predict(SIZES, NOISE).correct(measured, SIZES, NOISE)
    return motion, place


def test_it_finds_the_speed() -> None:
    motion, place = _walk(40)
    np.testing.assert_allclose(motion.speed, [[6, -2], [0, 0]], atol=0.2)
    np.testing.assert_allclose(motion.place, place, atol=0.7)
    for _ in range(10):
        motion = motion.predict(SIZES, NOISE)
    np.testing.assert_allclose(motion.place, place + 10 * np.array([[6, -2], [0, 0]]), atol=3)


def test_it_removes_noise() -> None:
    motion, place = _walk(200, noise=4.0)
    assert np.abs(motion.place - place).mean() < 4 * np.sqrt(2 / np.pi)


def test_it_is_the_filter_of_matrices() -> None:
    """Against the equations of a Kalman filter of one coordinate, written out."""
    step, seen = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
    size = SIZES[0]
    x, p = np.array([[0.0], [0.0]]), np.diag([(0.1 * size) ** 2, (10 / 160 * size) ** 2])
    q, r = np.diag([(0.05 * size) ** 2, (size / 160) ** 2]), (0.05 * size) ** 2
    motion = Motion.start(np.zeros((1, 2)), SIZES[:1], NOISE)
    for measured in (4.0, 9.0, 11.0, 30.0):
        x, p = step @ x, step @ p @ step.T + q
        gain = p @ seen.T / (seen @ p @ seen.T + r)
        x, p = x + gain * (measured - x[0, 0]), (np.eye(2) - gain @ seen) @ p
        motion = motion.predict(SIZES[:1], NOISE).correct(
            np.full((1, 2), measured), SIZES[:1], NOISE
        )
        assert motion.place[0] == pytest.approx([x[0, 0]] * 2)
        assert motion.speed[0] == pytest.approx([x[1, 0]] * 2)
        assert motion.spread[0] == pytest.approx([p[0, 0], p[0, 1], p[1, 1]])
