"""Signal and quantization noise of layers, pooled over images: numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from poseconform.compare.metrics import decibels


@dataclass(frozen=True)
class LayerNoise:
    """One quantized layer on its own float32 input.

    Attributes:
        name: As the artifact calls it.
        operator: As the backend calls it.
        sqnr_db: Signal over noise of its output, dB; infinite without noise, minus infinite where
            there is noise and no signal or the output is not a number.
    """

    name: str
    operator: str
    sqnr_db: float


@dataclass(frozen=True)
class Quantized:
    """What is quantized in an artifact.

    Attributes:
        layers: The quantized layers, the noisiest first.
        multiplying: How many layers of the float32 file sum products: all that int8 is for.
    """

    layers: tuple[LayerNoise, ...]
    multiplying: int


class NoiseMeter:
    """Sums signal and noise of each layer over images."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, layer: str, got: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
        """Add one image's output of a layer.

        Raises:
            ValueError: The shapes differ: the two files do not hold the same layer.
        """
        if got.shape != expected.shape:
            raise ValueError(
                f"layer {layer}: int8 output {list(got.shape)}, float32 {list(expected.shape)}"
            )
        exact = expected.astype(np.float64)
        signal, noise = self._sums.get(layer, (0.0, 0.0))
        self._sums[layer] = (
            signal + float(np.square(exact).sum()),
            noise + float(np.square(got.astype(np.float64) - exact).sum()),
        )

    def layers(self, operators: Mapping[str, str]) -> tuple[LayerNoise, ...]:
        """What was measured, the noisiest first.

        Args:
            operators: Layer -> operator.
        """
        found = [
            LayerNoise(name, operators[name], decibels(*sums)) for name, sums in self._sums.items()
        ]
        return tuple(sorted(found, key=lambda layer: layer.sqnr_db))
