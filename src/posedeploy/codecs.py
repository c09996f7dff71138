"""MMPose's codecs: one row each, with the parameters that decide where a keypoint is found.

Defaults are those of MMPose 1.3.2's constructors (`mmpose.codecs`). This module imports nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Parameter:
    """One parameter of a codec that decides where a keypoint is found.

    Attributes:
        name: Name in the codec's config and in `pipeline.json`.
        default: MMPose's default; None where a config must give it.
        only_with: Another parameter without which this one decides nothing; '' for none.
    """

    name: str
    default: Any = None
    only_with: str = ""


@dataclass(frozen=True)
class CodecSpec:
    """One codec.

    Attributes:
        type: MMPose's type.
        parameters: Those that decide the result.
        kernel: Parameter with the size of the blur, cells, which MMDeploy's client reads as
            `modulate_kernel`; '' if the codec has none.
        client: Fields of MMDeploy's client, which knows no codecs.
        unbiased: The same for a codec whose `unbiased` is set; empty where it has no such field.
        in_graph: Code that makes the module that decodes in a graph, of the codec's parameters;
            '' where a graph cannot hold the decoding.
        not_in_graph: Parameters that rule that out where they are set.
    """

    type: str
    parameters: tuple[Parameter, ...]
    kernel: str = ""
    client: tuple[tuple[str, Any], ...] = ()
    unbiased: tuple[tuple[str, Any], ...] = ()
    in_graph: str = ""
    not_in_graph: tuple[str, ...] = ()

    def default(self, name: str) -> Any:
        """Default of a parameter.

        Raises:
            KeyError: The codec has no such parameter.
        """
        return {parameter.name: parameter.default for parameter in self.parameters}[name]

    def client_fields(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What is added to `params` of a codec for MMDeploy's client."""
        fields = dict(self.unbiased if self.unbiased and params.get("unbiased") else self.client)
        if fields.get("modulate_kernel") == self.kernel != "":
            default = self.default(self.kernel)
            fields["modulate_kernel"] = int(params.get(self.kernel, default))
        return fields


_SIZES = (Parameter("input_size"), Parameter("heatmap_size"))
_BLUR = Parameter("blur_kernel_size", 11)
_DEFAULT = ("post_process", "default")

# ---- modify this table to add a codec ------------------------------------------------------
# The value of 'modulate_kernel' is the parameter that it is taken from.
# fmt: off
CODECS: tuple[CodecSpec, ...] = (
    CodecSpec("AssociativeEmbedding",
              (*_SIZES, Parameter("decode_keypoint_order"), Parameter("decode_nms_kernel", 5),
               Parameter("decode_keypoint_thr", 0.1), Parameter("decode_tag_thr", 1.0),
               Parameter("decode_topk", 30), Parameter("decode_center_shift", 0.0),
               Parameter("decode_max_instances"))),
    CodecSpec("DecoupledHeatmap", _SIZES),
    CodecSpec("IntegralRegressionLabel", (Parameter("input_size"),)),
    CodecSpec("MSRAHeatmap", (*_SIZES, Parameter("unbiased", default=False), _BLUR),
              "blur_kernel_size", client=(_DEFAULT,),
              unbiased=(("post_process", "unbiased"), ("modulate_kernel", "blur_kernel_size")),
              in_graph="posedeploy.export.decoding:HeatmapPeaks", not_in_graph=("unbiased",)),
    CodecSpec("MegviiHeatmap", (*_SIZES, Parameter("kernel_size")),
              "kernel_size",
              client=(("post_process", "megvii"), ("modulate_kernel", "kernel_size"))),
    CodecSpec("RegressionLabel", (Parameter("input_size"),),
              in_graph="posedeploy.export.decoding:Coordinates"),
    CodecSpec("SPR", (*_SIZES, Parameter("generate_keypoint_heatmaps", default=False),
                      Parameter("decode_nms_kernel", 5), Parameter("decode_max_instances", 30),
                      Parameter("decode_thr", 0.01))),
    CodecSpec("SimCCLabel", (Parameter("input_size"), Parameter("simcc_split_ratio", 2.0),
                             Parameter("use_dark", default=False),
                             Parameter("sigma", only_with="use_dark")),
              client=(("export_postprocess", False),),
              in_graph="posedeploy.export.decoding:SimccPeaks", not_in_graph=("use_dark",)),
    CodecSpec("UDPHeatmap", (*_SIZES, Parameter("heatmap_type", "gaussian"),
                             Parameter("radius_factor", 0.0546875), _BLUR),
              "blur_kernel_size",
              client=(_DEFAULT, ("use_udp", True), ("modulate_kernel", "blur_kernel_size"))),
)
# fmt: on
# --------------------------------------------------------------------------------------------


def decisive_parameters() -> tuple[Parameter, ...]:
    """The parameters of all codecs, each once, by name."""
    by_name = {parameter.name: parameter for codec in CODECS for parameter in codec.parameters}
    return tuple(by_name[name] for name in sorted(by_name))


def codec_of(codec_type: str) -> CodecSpec | None:
    """The row of a codec type, None where there is none."""
    return next((codec for codec in CODECS if codec.type == codec_type), None)
