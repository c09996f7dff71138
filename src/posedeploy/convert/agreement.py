"""Whether what a converter wrote computes what it was written from: one run on noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Largest difference from the graph that was converted, as a fraction of an output's largest
# value: honest float32 stays below 1e-5, and fp16 below 2e-2 on calibrated weights but at .16 on
# RTMPose's fitted ones, which know no noise; a layer that a converter got wrong is off by its
# size. In int8 the judge compares the values; here only names, shapes and finiteness.
AGREEMENT = {"fp32": 1e-3, "fp16": 0.5, "int8": math.inf}


def uniform_noise(shape: Sequence[int]) -> NDArray[np.float32]:
    """The same uniform noise in 0..1 in every run."""
    return np.random.default_rng(0).random(tuple(shape), np.float32)


def differences(
    got: Mapping[str, NDArray[Any]],
    truth: Mapping[str, NDArray[Any]],
    limit: float,
) -> list[str]:
    """A sentence for each output that is missing, of another shape, or off."""
    wrong = []
    for name, expected in truth.items():
        actual = got.get(name)
        if actual is None or actual.shape != expected.shape:
            shape = "nothing" if actual is None else f"shape {list(actual.shape)}"
            wrong.append(f"{name}: {shape} instead of shape {list(expected.shape)}")
            continue
        error = float(np.abs(actual - expected).max(initial=0.0))
        size = float(np.abs(expected).max(initial=0.0))
        if not error <= limit * max(size, math.ulp(1.0)):
            wrong.append(f"{name}: off by {error:.3g} where the largest value is {size:.3g}")
    return wrong
