"""`TopdownHeatmapSimpleHeadDecode`: MSRA, DARK, Megvii and UDP heatmaps to keypoints.

The parameters are MMDeploy's: those that its client obeys (`post_process`, `use_udp`,
`modulate_kernel`) and those of the codec that the model was trained with.  Where the two
contradict each other the folder is refused: one of them gives wrong keypoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from posedeploy.codecs import CodecSpec, codec_of
from posedeploy.heads import head_of_kind
from posedeploy.sdk.decode import Decoded, Outputs, floats, refine
from posedeploy.sdk.fields import Node

Method = Literal["default", "null", "dark", "megvii", "udp", "combined"]
DEFAULT_KERNEL = 11  # of the client's modulate_kernel, and of the codecs that have a default

# Without a codec in the params (folders of MMPose 0.x) the client's own fields decide.
METHODS: dict[str, Method] = {
    "default": "default", "megvii": "megvii", "null": "null", "unbiased": "dark",
}  # fmt: skip


@dataclass(frozen=True)
class HeatmapDecoder:
    """Heatmaps `output [N, K, H, W]` to keypoints."""

    method: Method  # how a peak is refined
    input_size: tuple[int, int]  # width and height of the network's input, px
    heatmap_size: tuple[int, int] | None = None  # width, height in cells; None takes the graph's
    kernel: int = DEFAULT_KERNEL  # size of the blur, cells
    radius_factor: float = 0.0546875  # for combined UDP maps only
    outputs: tuple[str, ...] = ("output",)

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row of `output`."""
        size: tuple[int | str, ...] = self.heatmap_size[::-1] if self.heatmap_size else ("H", "W")
        heatmaps = floats(outputs, "output", ("N", "K", *size))
        people, channels, height, width = heatmaps.shape
        maps = heatmaps.reshape(people * channels, height, width)
        with np.errstate(invalid="ignore", over="ignore"):
            points, scores = refine.only_numbers(*self._peaks(maps))
        cells = np.array([width, height])
        if self.method in ("udp", "combined"):
            scaled = points / (cells - 1) * self.input_size
        else:
            scaled = points * (np.array(self.input_size) / cells).astype(np.float32)
        scores = scores.reshape(people, -1)
        return Decoded(np.arange(people), scaled.reshape(*scores.shape, 2), scores)

    def _peaks(self, maps: NDArray[np.float32]) -> tuple[refine.Floats, refine.Floats]:
        """Refined peaks `[M, 2]` in heatmap cells and scores `[M]`."""
        if self.method == "combined":
            return refine.combined_offsets(maps, self.kernel, self.radius_factor)
        if self.method == "megvii":
            maps = refine.modulate(maps, self.kernel)
        points, scores = refine.peaks(maps)
        if self.method == "dark":
            points = refine.dark(points, maps, self.kernel)
        elif self.method == "udp":
            points = refine.dark_udp(points, maps, self.kernel)
        elif self.method == "megvii":
            points = refine.megvii_shift(points, maps)
            scores = scores / np.float32(255.0) + np.float32(0.5)
        elif self.method == "default":
            points = refine.quarter_shift(points, maps)
        return points, scores


def _kernel(params: Node, codec_key: str) -> int:
    """The blur's size from the codec's field or the client's; they must agree."""
    keys = [key for key in (codec_key, "modulate_kernel") if key and params.has(key)]
    sizes = {params.at(key).is_a(int) for key in keys}
    if len(sizes) > 1:
        raise params.at("modulate_kernel").error(f"{params.value[codec_key]}, as {codec_key}")
    kernel = sizes.pop() if sizes else DEFAULT_KERNEL
    if not (3 <= kernel <= 255 and kernel % 2):
        raise params.at(keys[0]).error("an odd integer from 3 to 255")
    return kernel


def _codec_method(params: Node, codec: CodecSpec) -> Method:
    """The method for a codec of MMPose 1.x, and a refusal where another field contradicts it."""
    unbiased = bool(codec.unbiased) and params.get("unbiased", bool, False)
    fields = dict(codec.client)
    post_processes = [fields["post_process"], *(["unbiased"] if unbiased else [])]
    allowed = {"post_process": post_processes, "use_udp": [fields.get("use_udp", False)]}
    if codec.type == "UDPHeatmap":
        allowed["heatmap_type"] = ["gaussian", "combined"]
    for key, values in allowed.items():
        if params.has(key):
            params.at(key).one_of(values)
    if codec.type == "UDPHeatmap":
        return "combined" if params.value.get("heatmap_type") == "combined" else "udp"
    if codec.type == "MegviiHeatmap":
        return "megvii"
    return "dark" if unbiased else "default"


def _client_method(params: Node) -> Method:
    """The method by the fields that MMDeploy's client obeys."""
    if params.get("use_udp", bool, False):
        target = params.get("target_type", str, "GaussianHeatmap")
        return "combined" if target == "CombinedTarget" else "udp"
    if not params.has("post_process"):
        return "default"
    post = params.at("post_process")
    return METHODS["null" if post.value is None else post.one_of(tuple(METHODS))]


def heatmap_decoder(params: Node, input_size: tuple[int, int]) -> HeatmapDecoder:
    """The decoder for the parameters of a `TopdownHeatmapSimpleHeadDecode`."""
    codecs = head_of_kind("heatmap").codecs
    name = params.get("type", str, "")
    if name and name not in codecs:
        raise params.at("type").error(f"one of {', '.join(codecs)}")
    codec = codec_of(name) if name else None
    radius = params.get("radius_factor", float, 0.0546875)
    if not 0 < radius <= 1:
        raise params.at("radius_factor").error("a number above 0 and at most 1")
    return HeatmapDecoder(
        method=_codec_method(params, codec) if codec else _client_method(params),
        input_size=input_size,
        heatmap_size=params.size("heatmap_size") if params.has("heatmap_size") else None,
        kernel=_kernel(params, codec.kernel if codec else ""),
        radius_factor=radius,
    )
