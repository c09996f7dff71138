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
    "default": "default",
    "megvii": "megvii",
    "null": "null",
    "unbiased": "dark",
}


@dataclass(frozen=True)
class HeatmapDecoder:
    """Heatmaps `output [N, K, H, W]` to keypoints.

    Attributes:
        method: How a peak is refined.
        input_size: Width and height of the network's input, px.
        heatmap_size: Width and height of the heatmaps, cells; None takes the graph's.
        kernel: Size of the blur, cells.
        radius_factor: For combined UDP maps only.
    """

    method: Method
    input_size: tuple[int, int]
    heatmap_size: tuple[int, int] | None = None
    kernel: int = DEFAULT_KERNEL
    radius_factor: float = 0.0546875
    outputs: tuple[str, ...] = ("output",)

    def decode(self, outputs: Outputs) -> Decoded:
        """One person a row of `output`."""
        size: tuple[int | str, ...] = self.heatmap_size[::-1] if self.heatmap_size else ("H", "W")
        heatmaps = floats(outputs, "output", ("N", "K", *size))
        people, channels, height, width = heatmaps.shape
        maps = heatmaps.reshape(people * channels, height, width)
        points, scores = self._peaks(maps)
        cells = np.array([width, height])
        if self.method in ("udp", "combined"):
            scaled = points / (cells - 1) * self.input_size
        else:
            scaled = points * (np.array(self.input_size) / cells).astype(np.float32)
        keypoints = channels // 3 if self.method == "combined" else channels
        return Decoded(
            np.arange(people), scaled.reshape(people, keypoints, 2), scores.reshape(people, -1)
        )

    def _peaks(self, maps: NDArray[np.float32]) -> tuple[refine.Points, NDArray[np.float32]]:
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


def _kernel(params: Node, key: str) -> int:
    """The blur's size from the codec's field or the client's; they must agree."""
    keys = [name for name in (key, "modulate_kernel") if name and params.has(name)]
    sizes = {params.at(name).is_a(int) for name in keys}
    if not sizes:
        return DEFAULT_KERNEL
    if len(sizes) > 1:
        raise params.at("modulate_kernel").error(f"{params.value[key]}, as {key}")
    kernel = sizes.pop()
    if not (3 <= kernel <= 255 and kernel % 2):
        raise params.at(keys[0]).error("an odd integer from 3 to 255")
    return kernel


def _codec(params: Node, name: str) -> CodecSpec:
    codecs = head_of_kind("heatmap").codecs
    codec = codec_of(name) if name in codecs else None
    if codec is None:
        raise params.at("type").error(f"one of {', '.join(codecs)}")
    return codec


def _codec_method(params: Node, codec: CodecSpec) -> Method:
    """The method for a codec of MMPose 1.x, and a refusal where another field contradicts it."""
    unbiased = bool(codec.unbiased) and params.get("unbiased", bool, False)
    fields = dict(codec.client)
    if params.has("post_process"):
        allowed = [fields["post_process"], *(["unbiased"] if unbiased else [])]
        params.at("post_process").one_of(allowed)
    if params.has("use_udp"):
        params.at("use_udp").one_of([fields.get("use_udp", False)])
    if codec.type == "UDPHeatmap":
        combined = params.get("heatmap_type", str, "gaussian") == "combined"
        if params.has("heatmap_type"):
            params.at("heatmap_type").one_of(["gaussian", "combined"])
        return "combined" if combined else "udp"
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
    """The decoder for the parameters of a `TopdownHeatmapSimpleHeadDecode`.

    Args:
        params: `params` of the component in `pipeline.json`.
        input_size: Width and height that the transforms warp to, px.

    Raises:
        BadInputError: A parameter is wrong, or two contradict each other.
    """
    name = params.get("type", str, "")
    codec = _codec(params, name) if name else None
    method = _codec_method(params, codec) if codec else _client_method(params)
    radius = params.get("radius_factor", float, 0.0546875)
    if not 0 < radius <= 1:
        raise params.at("radius_factor").error("a number above 0 and at most 1")
    return HeatmapDecoder(
        method=method,
        input_size=input_size,
        heatmap_size=params.size("heatmap_size") if params.has("heatmap_size") else None,
        kernel=_kernel(params, codec.kernel if codec else ""),
        radius_factor=radius,
    )
