"""How much noise each quantized layer of an int8 artifact adds.

One module for each backend reads the artifact and runs its layers; none depends on how the
artifact was made. Each layer is given the input that it has in the float32 file of the same
model, and its output is compared with the one there. A layer's own noise is well conditioned
whatever the weights are; noise that has gone through a whole network of unfitted weights is not.

Each module has `measure(files, float_files, inputs)`, which runs in a child process that loads the
backend: files of the int8 artifact and of the float32 one (whose layers have the same names), the
main file first, and normalized inputs `[S, 3, H, W]`. It raises `ValueError` where a layer is not
in the float32 file, or the backend refuses a file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerNoise:
    """One quantized layer on its own float32 input.

    `sqnr_db` is signal over noise of its output, pooled over images: infinite without noise, minus
    infinite where there is noise and no signal or the output is not a number.
    """

    name: str
    operator: str
    sqnr_db: float


@dataclass(frozen=True)
class Quantized:
    """The quantized layers of an artifact, the noisiest first.

    `multiplying` counts the layers of the float32 file that sum products: all that int8 is for.
    """

    layers: tuple[LayerNoise, ...]
    multiplying: int


class NoiseMeter:
    """Sums signal and noise of each layer over images."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, layer: str, got: NDArray[np.floating], expected: NDArray[np.floating]) -> None:
        """Add one image's output of a layer."""
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
        """The measured layers, the noisiest first; `operators` is by layer."""
        measured = (
            LayerNoise(name, operators[name], decibels(*sums)) for name, sums in self._sums.items()
        )
        return tuple(sorted(measured, key=lambda layer: layer.sqnr_db))


def decibels(signal: float, noise: float) -> float:
    """Signal over noise; minus infinity for noise that is NaN or has no signal."""
    if noise == 0:
        return math.inf
    ratio = signal / noise
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf
