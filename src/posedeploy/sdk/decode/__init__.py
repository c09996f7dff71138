"""Post-processing components, by their names in `pipeline.json`, from the rows of the heads."""

from __future__ import annotations

from pathlib import Path

from posedeploy.heads import component_names, load, stage_of_component
from posedeploy.sdk.decode.types import Decoded, Decoder, Outputs
from posedeploy.sdk.fields import Node

__all__ = ["Decoded", "Decoder", "Outputs", "compile_decoder"]


def compile_decoder(
    component: str, params: Node, input_size: tuple[int, int], folder: Path = Path()
) -> Decoder:
    """The decoder that a folder's post-processing task asks for.

    Args:
        component: Name of the component.
        params: Its parameters.
        input_size: Width and height that the transforms make, px.
        folder: The SDK model folder, for components that read a file of their own.

    Raises:
        BadInputError: The component is unknown, or its parameters are wrong.
    """
    try:
        _, stage = stage_of_component(component)
    except KeyError:
        path = params.path.removesuffix(".params") + ".component"
        error = Node(component, params.file, path).error(f"one of {', '.join(component_names())}")
        raise error from None
    folders = (folder,) if stage.host_weights else ()
    decoder: Decoder = load(stage.decoder)(params, input_size, *folders)
    return decoder
