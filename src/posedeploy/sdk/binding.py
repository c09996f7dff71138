"""From the names in `pipeline.json` to the inputs and outputs of a loaded graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posedeploy.errors import BadInputError
from posedeploy.runtime import Session, TensorInfo
from posedeploy.sdk.folder import PIPELINE, SdkModel

_MISMATCH = "The graph and pipeline.json do not belong together: convert the model again."


@dataclass(frozen=True)
class Binding:
    """How to call a session.

    Attributes:
        input: Name of its one input.
        outputs: Name in the pipeline -> name in the graph.
        batch: Images a call must hold; 0 if the batch is dynamic.
    """

    input: str
    outputs: Mapping[str, str]
    batch: int


def resolve(name: str, mapping: Mapping[str, str], tensors: Sequence[str]) -> str | None:
    """The graph's name for a pipeline name, None if the graph has no such tensor.

    Args:
        name: Name in the pipeline, e.g. 'simcc_x'.
        mapping: `input_map` or `output_map`; '#i' stands for a position.
        tensors: The graph's names, in its order.
    """
    target = mapping.get(name, name)
    if target.startswith("#") and target[1:].isascii() and target[1:].isdigit():
        index = int(target[1:6])
        return tensors[index] if index < len(tensors) else None
    return target if target in tensors else None


def input_name(model: SdkModel, inputs: Sequence[str]) -> str | None:
    """The graph's input for the image; a graph with one input needs no map to be understood."""
    mapping = model.input_map if "img" in model.input_map else {"img": "#0"}
    return resolve("img", mapping, inputs)


def _bind_input(model: SdkModel, inputs: Sequence[TensorInfo]) -> TensorInfo:
    names = [info.name for info in inputs]
    name = input_name(model, names)
    if name is None or len(inputs) != 1:
        raise BadInputError(
            f"{PIPELINE}: input_map",
            f"{dict(model.input_map)}, and a graph with inputs {', '.join(names) or 'none'}",
            "a map from 'img' to the graph's one input",
            _MISMATCH,
        )
    return inputs[0]


def _bind_outputs(
    model: SdkModel, outputs: Sequence[TensorInfo], wanted: Sequence[str]
) -> dict[str, str]:
    names = [info.name for info in outputs]
    bound: dict[str, str] = {}
    for name in wanted:
        found = resolve(name, model.output_map, names)
        if found is None:
            raise BadInputError(
                f"{PIPELINE}: output_map",
                f"{dict(model.output_map)}, and a graph with outputs {', '.join(names) or 'none'}",
                f"{model.component} gets {', '.join(wanted)} from the graph",
                _MISMATCH,
            )
        bound[name] = found
    return bound


def bind(
    model: SdkModel, session: Session, wanted: Sequence[str], input_size: tuple[int, int]
) -> Binding:
    """Match a folder's pipeline with the graph that was loaded.

    Args:
        model: The folder.
        session: Its loaded graph.
        wanted: Outputs that the decoder needs, by their names in the pipeline.
        input_size: Width and height that the transforms make, px.

    Raises:
        BadInputError: The names or the shape of the input do not fit.
    """
    info = _bind_input(model, session.inputs)
    width, height = input_size
    expected = (3, height, width)
    if info.shape:  # a runtime that cannot tell gives ()
        pairs = zip(info.shape[1:], expected, strict=False)
        if len(info.shape) != 4 or any(isinstance(a, int) and a != b for a, b in pairs):
            raise BadInputError(
                f"graph input {info.name!r}",
                f"shape {list(info.shape)}",
                f"[N, 3, {height}, {width}], as the transforms of {PIPELINE} make it",
                _MISMATCH,
            )
    first = info.shape[0] if info.shape else "?"
    batch = first if isinstance(first, int) else 0
    if not info.shape and not model.model.dynamic_shape:
        batch = 1
    return Binding(info.name, _bind_outputs(model, session.outputs, wanted), batch)
