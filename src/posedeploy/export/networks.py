"""The exportable networks: mmpose's models as modules whose outputs are those of the graph.

mmpose's `switch_to_deploy` is not used: it changes the model in place, and builds priors and
positional encodings from (w, h) where (h, w) is needed, which is right for square inputs only.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.export.decoding import decoding
from posedeploy.export.detection import (
    Rows,
    Selection,
    best_class,
    class_column,
    decode_boxes,
    detection_settings,
    flatten_levels,
    priors,
    take,
)
from posedeploy.heads import KEYPOINTS


class TopDownNetwork(nn.Module):
    """Image → the head's outputs, or at the stage `keypoints` what its codec decodes of them."""

    def __init__(
        self, model: Any, model_config: ModelConfig, _deploy_config: DeployConfig, stage: str
    ) -> None:
        super().__init__()
        self.model = model
        self.decode = decoding(model_config) if stage == KEYPOINTS else None

    def _ending(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, or keypoints [N, K, 2] (input px) and scores [N, K]."""
        return outputs if self.decode is None else self.decode(*outputs)


class HeatmapNetwork(TopDownNetwork):
    """HeatmapHead, CPMHead and MSPNHead: heatmaps of the last stage."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K, h, w], or what is decoded of them."""
        heatmaps = self.model.head(self.model.extract_feat(image))
        # CPMHead and MSPNHead output every stage; their `predict` decodes the last
        return self._ending(heatmaps[-1] if isinstance(heatmaps, list | tuple) else heatmaps)


class VisibilityNetwork(TopDownNetwork):
    """VisPredictHead around a heatmap head: heatmaps, and how likely each keypoint is visible."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalized image [N, 3, H, W] → heatmaps [N, K, h, w], probabilities [N, K]."""
        head, features = self.model.head, self.model.extract_feat(image)
        heatmaps = head.pose_head(features)
        # `vis_forward` ends with a reshape to the same shape: OpenVINO drops it, and with it the
        # output's name
        visibility = head.vis_head(features[-1])
        if not head.use_sigmoid:  # its `predict` takes it then
            visibility = visibility.sigmoid()
        return heatmaps[-1] if isinstance(heatmaps, list | tuple) else heatmaps, visibility


class SimccNetwork(TopDownNetwork):
    """SimCCHead and RTMCCHead: one vector per keypoint and axis."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Normalized image [N, 3, H, W] → simcc_x [N, K, W·ratio], simcc_y [N, K, H·ratio].

        At the stage `keypoints`, what is decoded of them.
        """
        simcc_x, simcc_y = self.model.head(self.model.extract_feat(image))
        return self._ending(simcc_x, simcc_y)


class DetectorNetwork(nn.Module):
    """Normalized image [N, 3, H, W] → the people that the head's `predict` detects.

    `stage` is where the graph ends. `nms`: dets [N, M, 5], keypoints [N, M, K, 3]; a head of
    several classes has a sixth column of `dets`, the class from 0. `dense`: boxes [N, P, 4] (not
    clipped), scores [N, P, classes], keypoints [N, P, K, 3]. `raw`: what the last layers output,
    each [N, P, C].
    """

    points: Tensor
    strides: Tensor

    def __init__(
        self, model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
    ) -> None:
        super().__init__()
        self.settings = detection_settings(model_config, deploy_config)
        self.input_size = deploy_config.input_shape or model_config.input_size
        self.model = model
        self.stage = stage
        self.joints = int(model.head.num_keypoints)
        self.classes = int(model.head.head_module.num_classes)
        points, strides = priors(model.head, self.input_size)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        self.priors = len(points)
        self.select = Selection(self.settings, self.priors)
        self.rows = Rows(self.input_size)


class YoloxPoseNetwork(DetectorNetwork):
    """YOLOXPoseHead; its raw outputs are cls, obj, bbox, kpt_offset and kpt_vis."""

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the stage."""
        levels = self.model.head(self.model.extract_feat(image))
        raw = tuple(flatten_levels(level) for level in levels)
        if self.stage == "raw":
            return raw
        boxes, scores, keypoints = self._dense(*raw)
        if self.stage == "dense":
            return boxes, scores, keypoints
        index, best = self.select(boxes, best_class(scores))
        chosen = take(keypoints.reshape(-1, self.priors, self.joints * 3), index, self.joints * 3)
        people = chosen.reshape(-1, self.settings.keep_top_k, self.joints, 3)
        column = class_column(scores, index, self.classes)
        dets, people = self.rows(take(boxes, index, 4), best, people, *column)
        return dets, people

    def _dense(
        self, cls: Tensor, obj: Tensor, bbox: Tensor, kpt_offset: Tensor, kpt_vis: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        scores = cls.sigmoid() * obj.sigmoid()
        boxes = decode_boxes(bbox, self.points, self.strides)
        offsets = kpt_offset.reshape(-1, self.priors, self.joints, 2)
        # the formula of YOLOXPoseHead.decode_kpt_reg
        positions = offsets * self.strides.reshape(1, -1, 1, 1) + self.points.unsqueeze(1)
        return boxes, scores, torch.cat([positions, kpt_vis.sigmoid().unsqueeze(-1)], dim=-1)


class RtmoNetwork(DetectorNetwork):
    """RTMOHead; its raw outputs are cls, bbox, kpt_vis and pose_vec.

    The positional encoding of the model's neck is replaced.
    """

    def __init__(
        self, model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
    ) -> None:
        super().__init__(model, model_config, deploy_config, stage)
        fix_positional_encoding(getattr(model, "neck", None), self.input_size)
        rows = self.priors if stage == "dense" else self.settings.keep_top_k
        self.decode = PoseDecoder(model.head, rows)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the stage."""
        cls_levels, bbox_levels, _, *others = self.model.head(self.model.extract_feat(image))
        raw = tuple(map(flatten_levels, (cls_levels, bbox_levels, *others)))
        if self.stage == "raw":
            return raw
        cls, bbox, kpt_vis, pose_vec = raw
        scores = cls.sigmoid()
        boxes = decode_boxes(bbox, self.points, self.strides)
        if self.stage == "dense":
            points = self.points + torch.zeros_like(boxes[..., :2])
            positions = self.decode(pose_vec, boxes, points)
            return boxes, scores, self._keypoints(positions, kpt_vis)
        index, best = self.select(boxes, best_class(scores))
        # only the M chosen rows are decoded; M is fixed, so no reduction is ever empty
        chosen = take(boxes, index, 4)
        vectors = take(pose_vec, index, self.decode.channels)
        positions = self.decode(vectors, chosen, self.points[index])
        visible = take(kpt_vis, index, self.joints)
        column = class_column(scores, index, self.classes)
        dets, people = self.rows(chosen, best, self._keypoints(positions, visible), *column)
        return dets, people

    @staticmethod
    def _keypoints(positions: Tensor, kpt_vis: Tensor) -> Tensor:
        return torch.cat([positions, kpt_vis.sigmoid().unsqueeze(-1)], dim=-1)


class PoseDecoder(nn.Module):
    """RTMO's dynamic coordinate classifier, for M = `rows` pose vectors and boxes an image."""

    def __init__(self, head: Any, rows: int) -> None:
        super().__init__()
        self.dcc = head.dcc
        self.rows = rows
        self.joints = int(head.num_keypoints)
        self.channels = int(head.dcc.in_channels)
        self.padding = float(head.bbox_padding)

    def forward(self, vectors: Tensor, boxes: Tensor, points: Tensor) -> Tensor:
        """Pose vectors [N, M, C], boxes [N, M, 4], points [N, M, 2] → keypoints [N, M, K, 2] px.

        The boxes are not clipped, as in `RTMOHead.predict`.
        """
        center = (boxes[..., 2:] + boxes[..., :2]) * 0.5
        scale = (boxes[..., 2:] - boxes[..., :2]) * self.padding
        keypoints: Tensor = self.dcc.forward_test(
            vectors.reshape(-1, self.channels),
            torch.cat([center, scale], dim=-1).reshape(-1, 4),
            points.reshape(-1, 2),
        )
        return keypoints.reshape(-1, self.rows, self.joints, 2)


class FixedPositionalEncoding(nn.Module):
    """Replaces a neck's `SinePositionalEncoding`: one computed table for each size (h, w)."""

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

    Under the TorchScript exporter its forward reads `pos_enc_{i}`, elsewhere it computes them.
    Both are the same values then.
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
