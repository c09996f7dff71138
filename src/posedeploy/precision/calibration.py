"""A calibration set: the inputs on which the ranges of int8 activations are measured.

The inputs are iterated anew each time, not held in memory: 500 of 640 px would be 2.4 GB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from posedeploy.errors import BadInputError

Inputs = Callable[[], Iterator[NDArray[np.float32]]]


@dataclass(frozen=True)
class CalibrationSet:
    """Inputs to calibrate on: [1, 3, H, W] float32, normalized by the model's pre-processing."""

    source: str  # where the images come from, for messages and `detail.json`
    count: int
    inputs: Inputs  # starts an iteration over them, always in the same order

    @cached_property
    def sha256(self) -> str:
        """Hash of all inputs, shapes included: two sets with one hash give the same ranges."""
        digest = hashlib.sha256()
        for array in self.inputs():
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def facts(self) -> dict[str, Any]:
        """The set in `detail.json`."""
        return {"source": self.source, "count": self.count, "sha256": self.sha256}

    def with_progress(self, task: str) -> Iterator[NDArray[np.float32]]:
        """The inputs, with a progress bar for `task` on standard error if that is a terminal."""
        console = Console(stderr=True)  # standard output is what scripts read
        yield from track(
            self.inputs(),
            description=f"{task} on {self.count} inputs ({self.source})",
            total=self.count,
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )


def required(calibration: CalibrationSet | None, deploy_config: Path) -> CalibrationSet:
    """The calibration set of a conversion that cannot do without one.

    Raises:
        BadInputError: There is none.
    """
    if calibration is None:
        raise BadInputError(
            f"{deploy_config}: int8", "nothing to calibrate on", "a calibration set",
            "Build one with posedeploy.precision.images.calibration_set.",
        )  # fmt: skip
    return calibration
