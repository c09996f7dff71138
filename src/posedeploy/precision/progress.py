"""Progress of a calibration, for a person who watches; silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from posedeploy.precision.calibration import CalibrationSet


def watched(calibration: CalibrationSet, what: str) -> Iterator[NDArray[np.float32]]:
    """The inputs of a set, with a bar on standard error if that is a terminal.

    Standard output stays clean: it is what scripts read.

    Args:
        calibration: The set.
        what: What is being done with it, for the bar.
    """
    console = Console(stderr=True)
    yield from track(
        calibration.inputs(),
        description=f"{what} on {calibration.count} inputs ({calibration.source})",
        total=calibration.count,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
