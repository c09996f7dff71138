"""Which weights a cell is judged with.

Trained weights, and fitted ones where there are none, locate the joints of drawn figures.
Calibrated random weights show whether tensors agree. Their peaks are ties of noise, nearly all of
which move at 16 bits and less, so they cannot show whether keypoints are still found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from poseconform.matrix.cells import Cell, Model

AUTO = "auto"
PUBLISHED = "zoo"  # downloaded: the only ones that find people
TRAINED, FITTED, CALIBRATED = "trained", "fitted", "calibrated"
LOCATING = (TRAINED, FITTED)  # find the joints of drawn figures; the better ones first
KINDS = (CALIBRATED, *LOCATING, PUBLISHED)
LOCATING_ONES = "locating"  # the better of LOCATING that there are
CHOICES = (AUTO, LOCATING_ONES, *KINDS)
MADE = frozenset(KINDS) - {PUBLISHED}
USER = "user"  # recorded where the user gave a checkpoint

# Precisions at which keypoints are judged on figures, which needs weights that locate joints.
FIGURE_PRECISIONS = frozenset({"fp16", "bf16", "int8"})

# The kinds of weights that locate joints, of which there are some for the model.
Locating = Callable[[Model], Collection[str]]


def weights_for(model: Model, precision: str, wanted: str, locating: Locating) -> str:
    """The kind of weights for a model at a precision: 'user' or one of `KINDS`.

    The user's checkpoint decides; `wanted` is one of `CHOICES`. 'auto' takes trained weights for
    a model that has them. For others it fits weights where keypoints are judged on figures, which
    those of a bottom-up model are not: no fitting method finds its people. 'locating' takes
    trained weights, or fitted ones, at every precision. A model without weights of the wanted kind
    gets calibrated ones.
    """
    if model.checkpoint:
        return USER
    if wanted == PUBLISHED:
        return PUBLISHED
    on_figures = precision in FIGURE_PRECISIONS and not model.bottom_up
    several = {AUTO: LOCATING if on_figures else (TRAINED,), LOCATING_ONES: LOCATING}
    kinds = several.get(wanted, (wanted,))
    return next((kind for kind in kinds if kind in locating(model)), CALIBRATED)


def with_weights(cells: Iterable[Cell], wanted: str, locating: Locating) -> tuple[Cell, ...]:
    """The same cells, each model with the weights of its cell."""
    return tuple(
        replace(cell, model=replace(
            cell.model, weights=weights_for(cell.model, cell.flow.precision, wanted, locating)
        ))
        for cell in cells
    )  # fmt: skip
