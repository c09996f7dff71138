"""PyTorch's keypoints of a model, and how far its own rounding to a precision may move them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.apis.matching import Keypoints
from posedeploy.apis.measuring import AS_IN_MMPOSE, exported_network
from posedeploy.apis.numeric import allowed_error, run_network
from posedeploy.apis.pipeline import collate
from posedeploy.config import ModelConfig, class_count
from posedeploy.sdk.images import Image
from posedeploy.sdk.reading import ImageSource

if TYPE_CHECKING:
    from torch import nn

DRAWS = 32  # of errors: two cells that tie change places in all but one case of 10,000


@dataclass(frozen=True, eq=False)
class Reference:
    """What the files of a backend are compared with."""

    model: nn.Module  # mmpose's, in eval mode
    config: ModelConfig
    flow: tuple[str, str]  # backend and precision of the files

    @property
    def precision(self) -> str:
        """That of the files."""
        return self.flow[1]

    def keypoints(self, source: ImageSource) -> Keypoints:
        """Keypoints `[N, K, 3]` (image px, score) in float32, as `pytorch_keypoints`."""
        return pytorch_keypoints(self.model, self.config, source)

    def rounded_keypoints(self, source: ImageSource) -> Keypoints | None:
        """Those that PyTorch's own rounding to the precision finds; None for float32."""
        if self._rounded is None:
            return None
        return pytorch_keypoints(self._rounded, self.config, source)

    @cached_property
    def _rounded(self) -> nn.Module | None:
        from posedeploy.precision.rounding import roundings

        return None if self.precision == "fp32" else next(roundings(self.model, self.precision))

    def reach(self, source: ImageSource) -> NDArray[np.float64]:
        """How far honest rounding can move each keypoint, `[K]` px of the network's input.

        mmpose's codec decodes the exact outputs without and with errors of the allowed size
        (`numeric.allowed_error`) and random signs, output by output: each has coordinates of its
        own. Near ties move far: cells or bins with almost the same value, or neighbors that
        decide about the step beside a peak. Models whose outputs have no peaks have no ties: 0.
        """
        stage = self.config.head_kind.stages[0]
        names = [output.name for output in stage.outputs if output.has_peaks]
        if self.config.head_kind.bottom_up or not names:
            return np.zeros(1)
        truth, own = self._outputs(source)
        rng, squares = np.random.default_rng(0), 0.0
        for name in names:
            size = float(np.abs(truth[name]).max())
            allowed = allowed_error(stage, name, self.flow, size, own[name])
            allowed = allowed if np.isfinite(allowed) else own[name]  # int8
            signs = rng.choice([-1.0, 1.0], (DRAWS, *truth[name].shape[1:]))
            alone = {n: np.repeat(truth[n], DRAWS + 1, axis=0) for n in names}
            alone[name][1:] += allowed * signs
            points = self._decoded(alone)
            squares += np.square(points[1:] - points[:1]).sum(axis=-1).max(axis=0)
        selected = self.config.test_cfg.get("output_keypoint_indices")
        reach = np.sqrt(squares)
        return np.asarray(reach if selected is None else reach[list(selected)], np.float64)

    def _decoded(self, outputs: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """Keypoints `[N, K, 2]`, px of the network's input, by mmpose's codec."""
        import torch

        model: Any = self.model
        head = getattr(model.head, "pose_head", model.head)  # of a head that predicts visibility
        parts = [torch.from_numpy(array.astype(np.float32)) for array in outputs.values()]
        decoded = head.decode(parts[0] if len(parts) == 1 else tuple(parts))
        return np.stack([np.asarray(one.keypoints[0, :, :2], np.float64) for one in decoded])

    def _outputs(self, source: ImageSource) -> tuple[dict[str, Any], dict[str, float]]:
        """The exact outputs `[1, K, …]`, and the largest error of PyTorch's own rounding."""
        inputs = [self.inputs(source)]
        names = self.config.head_kind.stages[0].output_names
        exact, honest = self._networks
        dtype = np.float64 if self._rounded is None else np.float32
        (truth,) = run_network(exact, names, inputs, dtype)
        own = dict.fromkeys(names, 0.0)
        for network in honest:
            (found,) = run_network(network, names, inputs, np.float32)
            own = {n: max(own[n], float(np.abs(found[n] - truth[n]).max())) for n in names}
        return dict(truth), own

    def inputs(self, source: ImageSource) -> NDArray[np.float32]:
        """What mmpose gives the network, `[1, 3, H, W]`; the whole image is one box."""
        model: Any = self.model
        image = as_mmpose_reads(self.config, source)
        batch = collate(self.config, [image], None, meta=model.dataset_meta)
        tensor: NDArray[np.float32] = model.data_preprocessor(batch, False)["inputs"].numpy()
        return tensor

    @cached_property
    def _networks(self) -> tuple[nn.Module, tuple[nn.Module, ...]]:
        """The network as exact as is needed, and as each honest way to round has it."""
        from posedeploy.precision.rounding import roundings

        network = exported_network(self.model, self.config, AS_IN_MMPOSE)
        if self._rounded is None:
            return copy.deepcopy(network).double(), tuple(roundings(network, self.precision))
        return network, (exported_network(self._rounded, self.config, AS_IN_MMPOSE),)


def pytorch_keypoints(model: nn.Module, config: ModelConfig, source: ImageSource) -> Keypoints:
    """Keypoints `[N, K, 3]` (image px, score) by mmpose itself; the whole image is one box.

    mmpose reads a file itself, by the config's `LoadImage`.
    """
    import torch

    # as mmpose's inference_topdown and inference_bottomup; mmpose.apis imports what draws
    image = as_mmpose_reads(config, source)
    estimator: Any = model
    batch = collate(config, [image], None, meta=estimator.dataset_meta)
    with torch.no_grad():
        samples = estimator.test_step(batch)
    return keypoints_of(samples[0].pred_instances, class_count(config))


def as_mmpose_reads(config: ModelConfig, source: ImageSource) -> Image:
    """An image by the first transform of the config's test pipeline, its `LoadImage`.

    Without its `backend_args`, which are for the place where a data set's files are.
    """
    from mmpose.registry import TRANSFORMS

    step = {key: value for key, value in config.test_pipeline[0].items() if key != "backend_args"}
    given = {"img_path": str(source)} if isinstance(source, str | Path) else {"img": source}
    loaded: Image = TRANSFORMS.build(step)(given)["img"]
    return loaded


def keypoints_of(instances: Any, classes: int = 1) -> Keypoints:
    """Keypoints `[N, K, 3]` (image px, score) of mmpose's `pred_instances`.

    `[N, K, 4]` with the class of the person if the model has several.
    """
    points = np.asarray(instances.keypoints, np.float64)[..., :2]
    scores = np.asarray(instances.keypoint_scores, np.float64)
    keypoints = np.concatenate([points, scores[..., None]], axis=-1)
    return with_classes(keypoints, instances.labels if classes > 1 else None)


def with_classes(keypoints: Keypoints, labels: NDArray[np.integer] | None) -> Keypoints:
    """Keypoints `[N, K, 3]` with labels `[N]` as a fourth column, or without."""
    if labels is None:
        return keypoints
    column = np.broadcast_to(labels[:, None, None], (*keypoints.shape[:2], 1))
    return np.concatenate([keypoints, column], axis=-1)
