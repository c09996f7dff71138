"""The exportable module of YOLOX-Pose."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from posedeploy.config import DeployConfig, ModelConfig
from posedeploy.export.detection import (
    Rows,
    Selection,
    best_class,
    decode_boxes,
    detection_settings,
    flatten_levels,
    priors,
    take,
)


class YoloxPoseNetwork(nn.Module):
    """Image → the people that `YOLOXPoseHead.predict` detects; `stage` is where the graph ends."""

    points: Tensor
    strides: Tensor

    def __init__(
        self, model: Any, model_config: ModelConfig, deploy_config: DeployConfig, stage: str
    ) -> None:
        super().__init__()
        settings = detection_settings(model_config, deploy_config)
        input_size = deploy_config.input_shape or model_config.input_size
        self.model = model
        self.stage = stage
        self.joints = int(model.head.num_keypoints)
        self.keep_top_k = settings.keep_top_k
        points, strides = priors(model.head, input_size)
        self.register_buffer("points", points)
        self.register_buffer("strides", strides)
        self.priors = len(points)
        self.select = Selection(settings, len(points))
        self.rows = Rows(input_size)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Image [N, 3, H, W], normalized as the model's preprocessor does.

        Returns:
            `nms`: dets [N, M, 5], keypoints [N, M, K, 3].  `dense`: boxes [N, P, 4] (not
            clipped), scores [N, P, 1], keypoints [N, P, K, 3].  `raw`: cls, obj, bbox, kpt_offset
            and kpt_vis, as the last layers output them, each [N, P, C].
        """
        levels = self.model.head(self.model.extract_feat(image))
        raw = tuple(flatten_levels(level) for level in levels)
        if self.stage == "raw":
            return raw
        boxes, scores, keypoints = self._dense(*raw)
        if self.stage == "dense":
            return boxes, scores, keypoints
        index, best = self.select(boxes, scores)
        chosen = take(keypoints.reshape(-1, self.priors, self.joints * 3), index, self.joints * 3)
        people = chosen.reshape(-1, self.keep_top_k, self.joints, 3)
        dets, people = self.rows(take(boxes, index, 4), best, people)
        return dets, people

    def _dense(
        self, cls: Tensor, obj: Tensor, bbox: Tensor, kpt_offset: Tensor, kpt_vis: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        scores = best_class(cls.sigmoid() * obj.sigmoid())
        boxes = decode_boxes(bbox, self.points, self.strides)
        offsets = kpt_offset.reshape(-1, self.priors, self.joints, 2)
        # the formula of YOLOXPoseHead.decode_kpt_reg
        positions = offsets * self.strides.reshape(1, -1, 1, 1) + self.points.unsqueeze(1)
        return boxes, scores, torch.cat([positions, kpt_vis.sigmoid().unsqueeze(-1)], dim=-1)
