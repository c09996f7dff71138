"""The One-Euro filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posedeploy.sdk.tracking.smoothing import OneEuro, Smoothed


def _run(points: np.ndarray, one_euro: OneEuro) -> np.ndarray:
    """Of points `[frames, 2]`."""
    smoothed = Smoothed.start(points[:1, None])
    out = [points[0]]
    for point in points[1:]:
        smoothed = smoothed.step(point[None, None], one_euro)
        out.append(smoothed.points[0, 0])
    return np.array(out)


def test_it_is_the_papers_on_one_axis() -> None:
    """Casiez, Roussel, Vogel, CHI 2012, algorithm 1, at one frame as the unit of time."""
    beta, least, of_speed = 0.05, 0.1, 0.3

    def share(cutoff: float) -> float:
        return 1 / (1 + 1 / (2 * np.pi * cutoff))

    values = np.random.default_rng(0).normal(0, 10, 30)
    hat, speed, expected = values[0], 0.0, [values[0]]
    for value in values[1:]:
        speed += share(of_speed) * (value - hat - speed)
        hat += share(least + beta * abs(speed)) * (value - hat)
        expected.append(hat)
    points = np.stack([values, np.zeros(30)], axis=1)
    assert _run(points, OneEuro(beta, least, of_speed))[:, 0] == pytest.approx(expected)


def test_who_stands_is_smoothed_and_who_runs_is_followed() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (400, 2))
    strong = OneEuro(0.05, 0.05, 1.0)
    assert _run(noise, strong).std() < 0.6 * noise.std()
    running = np.arange(400)[:, None] * [30.0, 0.0] + noise
    lag = running[50:] - _run(running, strong)[50:]
    assert lag.mean(axis=0)[0] < 30  # less than a frame


@given(st.floats(-1e4, 1e4), st.floats(0, 1), st.floats(0, 10), st.floats(0, 10))
def test_a_point_that_does_not_move_stays(x: float, beta: float, low: float, of: float) -> None:
    assert _run(np.full((5, 2), x), OneEuro(beta, low, of)) == pytest.approx(np.full((5, 2), x))
