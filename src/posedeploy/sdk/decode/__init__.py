"""Post-processing components by the names they have in `pipeline.json`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posedeploy.sdk.decode.detections import detections_decoder
from posedeploy.sdk.decode.heatmap import heatmap_decoder
from posedeploy.sdk.decode.host_detections import dense_decoder, raw_rtmo_decoder
from posedeploy.sdk.decode.simcc import simcc_decoder
from posedeploy.sdk.decode.types import Decoded, Decoder, Outputs
from posedeploy.sdk.fields import Node

__all__ = ["COMPONENTS", "Component", "Decoded", "Decoder", "Outputs", "compile_decoder"]


@dataclass(frozen=True)
class Component:
    """One post-processing component.

    Attributes:
        build: Reads `params`, for an input of this width and height, into a decoder.
        top_down: True if it takes one person a row, False if it finds people in a image.
        files: True if `build` takes the folder too, for files of its own that lie there.
    """

    build: Callable[..., Decoder]
    top_down: bool
    files: bool = False


# ---- modify this table to add a component --------------------------------------------------
# The aliases of the heatmap component are MMDeploy's: its client has them all.
# fmt: off
COMPONENTS: dict[str, Component] = {
    "RTMODetections":                          Component(detections_decoder, top_down=False),
    "RTMOHostDetections":        Component(raw_rtmo_decoder, top_down=False, files=True),
    "SimCCLabelDecode":                        Component(simcc_decoder,      top_down=True),
    "TopdownHeatmapBaseHeadDecode":            Component(heatmap_decoder,    top_down=True),
    "TopdownHeatmapMSMUHeadDecode":            Component(heatmap_decoder,    top_down=True),
    "TopdownHeatmapMultiStageHeadDecode":      Component(heatmap_decoder,    top_down=True),
    "TopdownHeatmapSimpleHeadDecode":          Component(heatmap_decoder,    top_down=True),
    "ViPNASHeatmapSimpleHeadDecode":           Component(heatmap_decoder,    top_down=True),
    "YOLOXPoseDetections":                     Component(detections_decoder, top_down=False),
    "YOLOXPoseHostDetections":                 Component(dense_decoder,      top_down=False),
}
# fmt: on
# --------------------------------------------------------------------------------------------


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
    if component not in COMPONENTS:
        path = params.path.removesuffix(".params") + ".component"
        raise Node(component, params.file, path).error(f"one of {', '.join(COMPONENTS)}")
    row = COMPONENTS[component]
    return row.build(params, input_size, *((folder,) if row.files else ()))
