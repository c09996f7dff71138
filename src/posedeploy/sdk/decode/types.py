"""What decoders take and give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.sdk.fields import Node

Outputs = Mapping[str, NDArray[Any]]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Decoded:
    """People in input px.

    Attributes:
        image: `[P]` index into the batch that each person was found in.
        points: `[P, K, 2]` (x, y) in input px.
        point_scores: `[P, K]`.
        boxes: `[P, 4]` left, top, right, bottom in input px; None where the graph finds no boxes.
        box_scores: `[P]`, likewise.
    """

    image: NDArray[np.intp]
    points: Floats
    point_scores: Floats
    boxes: Floats | None = None
    box_scores: Floats | None = None


class Decoder(Protocol):
    """A post-processing component, ready to run."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs it needs."""
        ...

    def decode(self, outputs: Outputs) -> Decoded:
        """People in a batch of outputs.

        Raises:
            BadInputError: An output has not the shape that it needs.
        """
        ...


def floats(outputs: Outputs, name: str, shape: tuple[int | str, ...]) -> NDArray[np.float32]:
    """The output `name` as contiguous float32 of the rank and the fixed sizes in `shape`.

    Raises:
        BadInputError: It is not there, of another shape, empty in a fixed dimension, or not of
            numbers.
    """
    array = np.asarray(outputs[name])
    fits = array.ndim == len(shape) and all(
        want == have or (isinstance(want, str) and (have > 0 or want in "NM"))
        for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        raise BadInputError(
            f"graph output {name!r}",
            f"{array.dtype} of shape {list(array.shape)}",
            f"numbers of shape [{', '.join(map(str, shape))}]",
            "The graph and pipeline.json do not belong together: convert the model again.",
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def same_input_size(params: Node, input_size: tuple[int, int]) -> None:
    """Refuse params whose `input_size` is not that of the transforms."""
    if params.has("input_size") and params.size("input_size") != input_size:
        raise params.at("input_size").error(f"{list(input_size)}, the size that is warped to")
