"""Which weights a cell is judged with.

Calibrated random weights show whether tensors agree; they cannot show whether a keypoint is still
found, for their peaks are ties of noise: at 16 bits and less nearly every one moves.  Fitted
weights locate the joints of drawn figures, so there a keypoint that moves has a meaning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from poseconform.matrix.cells import Cell, Model

AUTO = "auto"
PUBLISHED = "zoo"  # downloaded: they find people, where all others find drawn figures at most
KINDS = ("calibrated", "fitted", PUBLISHED)
CHOICES = (AUTO, *KINDS)
USER = "user"  # recorded where the user gave a checkpoint

# Precisions at which keypoints are judged on figures, so that calibrated weights do not do.
FITTED_PRECISIONS = frozenset({"fp16", "bf16", "int8"})

CanFit = Callable[[Model], bool]


def weights_for(model: Model, precision: str, wanted: str, can_fit: CanFit) -> str:
    """The kind of weights for a model at a precision.

    Args:
        model: Its own checkpoint, where it has one, is all that counts.
        precision: Of the flow.
        wanted: One of `CHOICES`; 'auto' fits where keypoints are judged on figures, which those
            of a detector are not: its limits were measured with calibrated weights.
        can_fit: Whether a model's family can be fitted; where not, weights are calibrated.

    Returns:
        'user' or one of `KINDS`.
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
