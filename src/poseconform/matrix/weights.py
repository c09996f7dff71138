"""Which weights a cell is judged with.

Calibrated random weights show whether tensors agree. Their peaks are ties of noise, nearly all of
which move at 16 bits and less, so they cannot show whether keypoints are still found. Fitted
weights locate the joints of drawn figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from poseconform.matrix.cells import Cell, Model

AUTO = "auto"
PUBLISHED = "zoo"  # downloaded: the only ones that find people
KINDS = ("calibrated", "fitted", PUBLISHED)
CHOICES = (AUTO, *KINDS)
MADE = frozenset(KINDS) - {PUBLISHED}
USER = "user"  # recorded where the user gave a checkpoint

# Precisions at which keypoints are judged on figures, which needs fitted weights.
FITTED_PRECISIONS = frozenset({"fp16", "bf16", "int8"})

CanFit = Callable[[Model], bool]


def weights_for(model: Model, precision: str, wanted: str, can_fit: CanFit) -> str:
    """The kind of weights for a model at a precision: 'user' or one of `KINDS`.

    The user's checkpoint decides; `wanted` is one of `CHOICES`. 'auto' fits where keypoints are
    judged on figures. Those of a bottom-up model are not: its limits were measured with
    calibrated weights. A family that cannot be fitted gets calibrated ones.
    """
    if model.checkpoint:
        return USER
    if wanted == PUBLISHED:
        return PUBLISHED
    on_figures = precision in FITTED_PRECISIONS and not model.bottom_up
    wants_fit = wanted == "fitted" or (wanted == AUTO and on_figures)
    return "fitted" if wants_fit and can_fit(model) else "calibrated"


def with_weights(cells: Iterable[Cell], wanted: str, can_fit: CanFit) -> tuple[Cell, ...]:
    """The same cells, each model with the weights of its cell."""
    return tuple(
        replace(cell, model=replace(
            cell.model, weights=weights_for(cell.model, cell.flow.precision, wanted, can_fit)
        ))
        for cell in cells
    )  # fmt: skip
