"""The exportable module of RTMO.

`switch_to_deploy` of mmpose is never called: it changes the model in place and builds priors
and positional encodings from (w, h) where (h, w) is needed, so that only square inputs come
out right.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.export.detection import (
    DetectionSettings,
    Rows,
    Selection,
    best_class,
    decode_boxes,
    detection_settings,
    flatten_levels,
    priors,
    take,
)


class FixedPositionalEncoding(nn.Module):
    """In place of a neck's 2-D sine encoding: tables computed beforehand, one a feature size.

    Args:
        encoding: mmpose's `SinePositionalEncoding`.
        sizes: Feature sizes (h, w) that will be asked for, in cells.
    """

    def __init__(self, encoding: Any, sizes: list[tuple[int, int]]) -> None:
        super().__init__()
        for height, width in sizes:
            with warnings.catch_warnings():
                # mmpose calls torch.meshgrid without `indexing`; the default is what it wants
                warnings.filterwarnings("ignore", message="torch.meshgrid")
                table = encoding(size=(height, width)).detach()
            self.register_buffer(f"table_{height}x{width}", table)

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The table [h·w, C/2, 2] of a feature size (h, w)."""
        table: Tensor = getattr(self, f"table_{int(size[0])}x{int(size[1])}")
        return table


def fix_positional_encoding(neck: Any, input_size: tuple[int, int]) -> None:
    """Make a `HybridEncoder` take its encodings from buffers, in place.

    Its forward has two ways: under the TorchScript exporter it reads `pos_enc_{i}`, everywhere
    else it computes.  Both then give the same numbers.
    """
    if not hasattr(neck, "sincos_pos_enc") or neck.num_encoder_layers == 0:
        return
    width, height = input_size
    # level i of the neck has stride 2**(3 + i)
    cells = [2 ** (3 + level) for level in neck.use_encoder_idx]
    sizes = [(height // cell, width // cell) for cell in cells]
    neck.sincos_pos_enc = FixedPositionalEncoding(neck.sincos_pos_enc, sizes)
    for i, (h, w) in enumerate(sizes):
        table = neck.sincos_pos_enc(size=(h, w)).transpose(-1, -2).reshape(1, h * w, -1)
        neck.register_buffer(f"pos_enc_{i}", table, persistent=False)


class PoseDecoder(nn.Module):
    """RTMO's dynamic coordinate classifier: pose vectors and boxes → keypoints.

    Args:
        head: The mmpose `RTMOHead`.
        rows: M, how many rows of an image are decoded.
    """

    def __init__(self, head: Any, rows: int) -> None:
        super().__init__()
        self.dcc = head.dcc
        self.rows = rows
        self.joints = int(head.num_keypoints)
        self.channels = int(head.dcc.in_channels)
        self.padding = float(head.bbox_padding)

    def forward(self, vectors: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
        """Decode some priors of every image.

        Args:
            vectors: Pose vectors [N, M, C].
            boxes: [N, M, 4], not clipped, as `RTMOHead.predict` passes them.
            points: The priors' points [N, M, 2].

        Returns:
            [N, M, K, 2] in px.
        """
        center = (boxes[..., 2:] + boxes[..., :2]) * 0.5
        scale = (boxes[..., 2:] - boxes[..., :2]) * self.padding
        found: Tensor = self.dcc.forward_test(
            vectors.reshape(-1, self.channels),
            torch.cat([center, scale], dim=-1).reshape(-1, 4),
            points.reshape(-1, 2),
        )
        return found.reshape(-1, self.rows, self.joints, 2)


class RtmoNetwork(nn.Module):
    """Image → people, as `RTMOHead.predict` finds them.

    Args:
        model: The mmpose estimator; its neck's positional encoding is replaced.
        input_size: (W, H) in px.
        settings: Which priors become detections.
        stage: Where the graph ends: 'nms', 'dense' or 'raw'.
    """

    points: Tensor
    strides: Tensor

    def __init__(
        self,
        model: Any,
        input_size: tuple[int, int],
        settings: DetectionSettings,
        stage: str,
    ) -> None:
        super().__init__()
        self.model = model
        self.stage = stage
        points, strides = priors(model.head, input_size)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        fix_positional_encoding(getattr(model, "neck", None), input_size)
        self.select = Selection(settings, len(points))
        self.rows = Rows(input_size)
        self.decode = PoseDecoder(
            model.head, len(points) if stage == "dense" else settings.keep_top_k
        )

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Image [N, 3, H, W], normalized as the model's preprocessor does.

        Returns:
            `nms`: dets [N, M, 5], keypoints [N, M, K, 3].  `dense`: boxes [N, P, 4] (not
            clipped), scores [N, P, 1], keypoints [N, P, K, 3].  `raw`: cls, bbox, kpt_vis and
            pose_vec, as the last layers output them, each [N, P, C].
        """
        cls, bbox, kpt_vis, pose_vec = raw = self._raw(image)
        if self.stage == "raw":
            return raw
        scores = best_class(cls.sigmoid())
        boxes = decode_boxes(bbox, self.points, self.strides)
        if self.stage == "dense":
            places = self.decode(pose_vec, boxes, self.points + torch.zeros_like(boxes[..., :2]))
            return boxes, scores, self._keypoints(places, kpt_vis)
        index, best = self.select(boxes, scores)
        # only the M chosen rows are decoded; M is fixed, so no reduction is ever empty
        chosen = take(boxes, index, 4)
        vectors = take(pose_vec, index, self.decode.channels)
        places = self.decode(vectors, chosen, self.points[index])
        visible = take(kpt_vis, index, self.decode.joints)
        dets, people = self.rows(chosen, best, self._keypoints(places, visible))
        return dets, people

    def _raw(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cls, bbox, _, kpt_vis, pose_vec = self.model.head(self.model.extract_feat(image))
        return (
            flatten_levels(cls),
            flatten_levels(bbox),
            flatten_levels(kpt_vis),
            flatten_levels(pose_vec),
        )

    @staticmethod
    def _keypoints(places: Tensor, kpt_vis: Tensor) -> Tensor:
        return torch.cat([places, kpt_vis.sigmoid().unsqueeze(-1)], dim=-1)


def build(
    model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
) -> RtmoNetwork:
    """The network of a model for a deploy config."""
    size = deploy_config.input_shape or model_config.input_size
    return RtmoNetwork(model, size, detection_settings(model_config, deploy_config), stage)
