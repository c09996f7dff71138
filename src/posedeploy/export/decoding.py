"""The decoding of codecs as part of a graph (MMDeploy's `export_postprocess`).

Each module equals the `decode` of MMPose 1.3.2's codec. Positions are counted in integers and
scaled in float32, whatever the network computes in: float16 holds no odd integer above 2048.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.codecs import codec_of
from posedeploy.config import ModelConfig
from posedeploy.heads import load

NO_PEAK = -1.0  # bins or cells: where no value is above 0, as mmpose has it


class SimccPeaks(nn.Module):
    """`SimCCLabel.decode` without DARK."""

    def __init__(self, codec: Mapping[str, Any]) -> None:
        super().__init__()
        self.split_ratio = float(codec.get("simcc_split_ratio", 2.0))  # bins a px; the default

    def forward(self, simcc_x: Tensor, simcc_y: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors [N, K, Wx] and [N, K, Wy] → keypoints [N, K, 2] input px, scores [N, K]."""
        scores = torch.minimum(simcc_x.amax(dim=-1), simcc_y.amax(dim=-1))
        bins = torch.stack([simcc_x.argmax(dim=-1), simcc_y.argmax(dim=-1)], dim=-1)
        return peaks_or_none(bins, scores) / self.split_ratio, scores


class HeatmapPeaks(nn.Module):
    """`MSRAHeatmap.decode` without DARK: a quarter cell towards the larger neighbor."""

    scale: Tensor

    def __init__(self, codec: Mapping[str, Any]) -> None:
        super().__init__()
        self.size = tuple(map(int, codec["heatmap_size"]))  # width, height in cells
        sizes = zip(codec["input_size"], self.size, strict=True)
        scale = torch.tensor([side / cells for side, cells in sizes], dtype=torch.float32)
        self.register_buffer("scale", scale)

    def forward(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps [N, K, H, W] → keypoints [N, K, 2] input px, scores [N, K]."""
        width, height = self.size
        flat = heatmaps.flatten(2)
        scores, index = flat.amax(dim=-1), flat.argmax(dim=-1)
        y = torch.div(index, width, rounding_mode="trunc")
        x = index - y * width
        # the cells that `refine_keypoints` takes the step in: its two axes are not alike
        seen = scores > 0
        steps = torch.stack(
            [
                self._step(flat, index, 1, seen, x > 1, x < width - 1, y > 0),
                self._step(flat, index, width, seen, y > 1, y < height - 1, x > 0),
            ],
            dim=-1,
        )
        points = peaks_or_none(torch.stack([x, y], dim=-1), scores)
        return (points + 0.25 * steps) * self.scale, scores

    def _step(self, flat: Tensor, index: Tensor, stride: int, *conditions: Tensor) -> Tensor:
        """-1, 0 or 1 [N, K]: to the larger of the neighbors, `stride` cells before and after.

        It is 0 where one of the conditions [N, K] does not hold.
        """
        last = self.size[0] * self.size[1] - 1
        after, before = (
            flat.gather(2, (index + move).clamp(0, last).unsqueeze(-1)).squeeze(-1)
            for move in (stride, -stride)
        )
        step = torch.sign(after - before).to(torch.float32)
        for condition in conditions:  # products: coremltools has no `and`
            step = step * condition.to(torch.float32)
        return step


class Coordinates(nn.Module):
    """`RegressionLabel.decode` of what `RLEHead.predict` gives it: sigmas by the sigmoid."""

    size: Tensor

    def __init__(self, codec: Mapping[str, Any]) -> None:
        super().__init__()
        self.register_buffer("size", torch.tensor(codec["input_size"], dtype=torch.float32))

    def forward(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """x, y and two logits [N, K, 4] → keypoints [N, K, 2] input px, scores [N, K]."""
        scores = 1.0 - output[..., 2:].sigmoid().mean(dim=-1)
        return output[..., :2].to(torch.float32) * self.size, scores


def peaks_or_none(cells: Tensor, scores: Tensor) -> Tensor:
    """Positions [N, K, 2] in float32; `NO_PEAK` where the score [N, K] is not above 0."""
    seen = (scores > 0).to(torch.float32).unsqueeze(-1)
    # `where` with a number is none of coremltools' operators; on small integers this is exact
    return (cells.to(torch.float32) - NO_PEAK) * seen + NO_PEAK


def decoding(model_config: ModelConfig) -> nn.Module:
    """The module that decodes a top-down model's outputs in its graph.

    Raises:
        KeyError: No graph holds the decoding of the model's codec.
    """
    codec = codec_of(str(model_config.codec.get("type")))
    if codec is None or not codec.in_graph:
        raise KeyError(model_config.codec.get("type"))
    module: nn.Module = load(codec.in_graph)(model_config.codec)
    return module
