"""Post-processing components: from outputs of a graph to people in input px."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from posedeploy.errors import BadInputError
from posedeploy.heads import component_names, load, stage_of_component
from posedeploy.sdk.fields import Node

Outputs = Mapping[str, NDArray[Any]]
Floats = NDArray[np.floating[Any]]
UNKNOWN = "UNKNOWN"  # MMDeploy's component of heads that its client cannot decode
MISMATCH = "The graph and pipeline.json do not belong together: convert the model again."


@dataclass(frozen=True)
class Decoded:
    """People in input px."""

    image: NDArray[np.intp]  # `[P]` index of the image in the batch
    points: Floats  # `[P, K, 2]` (x, y)
    point_scores: Floats  # `[P, K]`
    boxes: Floats | None = None  # `[P, 4]` left, top, right, bottom; None if there are none
    box_scores: Floats | None = None  # `[P]`, likewise
    labels: NDArray[np.int64] | None = None  # `[P]` class from 0; None if there is one class only
    visible: Floats | None = None  # `[P, K]` probabilities, 0 to 1; None if the graph has none


class Decoder(Protocol):
    """A post-processing component, ready to run."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the graph outputs it needs."""

    def decode(self, outputs: Outputs) -> Decoded:
        """People in a batch of outputs; a BadInputError for shapes that it cannot decode."""


def floats(outputs: Outputs, name: str, shape: tuple[int | str, ...]) -> NDArray[np.float32]:
    """The output `name` as contiguous float32 of the rank and the fixed sizes in `shape`.

    A BadInputError refuses another shape, an empty dimension but M, and what is no number.
    """
    array = np.asarray(outputs[name])
    fits = array.ndim == len(shape) and all(
        want == have or (isinstance(want, str) and (have > 0 or want == "M"))
        for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        raise BadInputError(
            f"graph output {name!r}", f"{array.dtype} of shape {list(array.shape)}",
            f"numbers of shape [{', '.join(map(str, shape))}]", MISMATCH,
        )  # fmt: skip
    return np.ascontiguousarray(array, dtype=np.float32)


def compile_decoder(
    component: str, params: Node, input_size: tuple[int, int], folder: Path = Path()
) -> Decoder:
    """The decoder that a folder's post-processing task asks for, from the rows of the heads.

    `input_size` is the width and height that the transforms make, px; `folder` is for components
    that read a file of their own.  A BadInputError names an unknown component or parameter.
    """
    if component not in component_names():
        path = params.path.removesuffix(".params") + ".component"
        found = f"{component!r}, which MMDeploy writes for heads that its client cannot decode"
        raise Node(component, params.file, path).error(
            f"one of {', '.join(component_names())}", found if component == UNKNOWN else None
        )
    _, stage = stage_of_component(component, params.value)
    if params.has("input_size") and params.size("input_size") != input_size:
        raise params.at("input_size").error(f"{list(input_size)}, the size that is warped to")
    folders = (folder,) if stage.host_weights else ()
    return load(stage.decoder)(params, input_size, *folders)  # type: ignore[no-any-return]
