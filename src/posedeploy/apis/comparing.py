"""Keypoints of the deployed model compared with PyTorch's, on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from posedeploy.apis.pipeline import collate
from posedeploy.apis.progress import Progress, at_stage, silent
from posedeploy.config import ModelConfig, class_count
from posedeploy.errors import BadInputError
from posedeploy.runtime import Runtime, device_of
from posedeploy.sdk.decode.assignment import assigned
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.images import MOST_PIXELS, Image
from posedeploy.sdk.reading import ImageSource

if TYPE_CHECKING:
    from torch import nn

    from posedeploy.apis.deploying import Deployment
    from posedeploy.sdk import PoseDetector

Keypoints = NDArray[np.float64]
FindKeypoints = Callable[[Path, ImageSource], Keypoints]  # of a folder, in an image

# Largest distance, in px of the network's input, at which two keypoints count as the same.  fp32:
# rounding moves a keypoint by less than 0.1 px unless two places tie; lower precisions move ties
# often, and only the judge can tell a tie from a fault.
LIMIT_PX = {"bf16": 4.0, "fp32": 1.0, "fp16": 4.0, "int8": 16.0}

# Least share of the keypoints on a drawn figure that int8 must leave within the limit.  Right
# ranges: 94 % and more (LiteHRNet: one of the 68 moves, a near tie); ranges
# that were measured on flat images: less than half.
LEAST_NEAR = 0.75
BOX_PADDING = 1.25  # of mmpose's GetBBoxCenterScale: the crop is larger than the box by it
FAR_PX = 1e9  # stands for the distance of a keypoint that is not a number


@dataclass(frozen=True)
class Comparison:
    """How far the deployed keypoints are from PyTorch's; distances in image px."""

    people: int  # that both found
    only_one: int  # people that only one of them found
    median_px: float
    max_px: float
    limit_px: float  # largest distance that counts as the same
    near: float = 0.0  # share of the keypoints that are no farther apart
    least_near: float = 1.0  # share that must be

    @property
    def nobody(self) -> bool:
        """True if neither found anybody: there is nothing to compare."""
        return self.people == 0 and self.only_one == 0

    @property
    def same(self) -> bool:
        """True if both found the same people, at least one, with the same keypoints."""
        near = self.max_px <= self.limit_px or self.near >= self.least_near
        return self.people > 0 and self.only_one == 0 and near


@dataclass(frozen=True)
class Compared:
    """The keypoints of one image: `[N, K, 3]` and `[M, K, 3]` image px, score.

    `[…, 4]` with the class of the person for models of several classes.
    """

    deployed: Keypoints
    pytorch: Keypoints
    distances: Comparison
    name: str = "image"  # for people: that of the file, or of a drawn figure
    decides: bool = True  # False where the weights find nothing that could be compared


def compare(
    deployment: Deployment,
    model_config: ModelConfig,
    model: nn.Module,
    images: Sequence[ImageSource],
    *,
    find: FindKeypoints | None = None,
    progress: Progress = silent,
) -> tuple[Compared, ...]:
    """Compare an SDK model folder's keypoints with PyTorch's, image by image.

    `images` are files, which each side reads as it does in use (mmpose by its config's
    `LoadImage`), or arrays `[H, W, 3]` uint8, BGR; `model` is in eval mode; `find` returns the
    keypoints of a folder on an image (None runs the SDK).

    Raises:
        BadInputError: An image cannot be read.
        UnavailableError: The backend does not run here.
    """
    with at_stage("compare", progress), detector_of(deployment.folder) as detector:
        precision = deployment.artifact.precision
        return tuple(
            compare_on(detector, precision, model_config, model, image, find=find)
            for image in images
        )


def compare_on(
    detector: PoseDetector,
    precision: str,
    model_config: ModelConfig,
    model: nn.Module,
    source: ImageSource,
    *,
    find: FindKeypoints | None = None,
    name: str = "",
    decides: bool = True,
    least_near: float = 1.0,
) -> Compared:
    """The same on one image; `precision` is that of the file, `name` '' for that of the image."""
    pytorch = pytorch_keypoints(model, model_config, source)
    look = find or (lambda _folder, image: detected_keypoints(detector, image))
    deployed = look(detector.model.folder, source)
    if len(deployed) and len(pytorch) and deployed.shape[1] != pytorch.shape[1]:
        raise BadInputError(
            str(detector.model.folder), f"{deployed.shape[1]} keypoints a person",
            f"{pytorch.shape[1]}, as {model_config.path.name} has",
            "Give the model config that it was made of.",
        )  # fmt: skip
    rows, columns = detector.read(source).shape[:2]
    width, height = model_config.input_size
    scale = max(columns / width, rows / height) * BOX_PADDING
    distances = keypoint_distances(deployed, pytorch, precision, scale, detector.most_people)
    distances = replace(distances, least_near=least_near)
    named = name or (Path(source).name if isinstance(source, str | Path) else "image")
    return Compared(deployed, pytorch, distances, named, decides)


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


def _labels(keypoints: Keypoints) -> NDArray[np.int64]:
    labels = classes_of(keypoints)
    return np.zeros(len(keypoints), np.int64) if labels is None else labels


def classes_of(keypoints: Keypoints) -> NDArray[np.int64] | None:
    """The labels `[N]` in the fourth column, None if there is none."""
    if keypoints.shape[-1] < 4:
        return None
    return keypoints[:, 0, 3].astype(np.int64)


def sdk_keypoints(folder: Path, source: ImageSource) -> Keypoints:
    """Keypoints `[N, K, 3]` (image px, score), from the folder alone, where its backend runs."""
    with detector_of(folder) as detector:
        return detected_keypoints(detector, source)


def detector_of(folder: Path, runtime: Runtime | None = None) -> PoseDetector:
    """The detector of an SDK model folder, where its backend runs.

    `runtime` loads the files; None takes the backend's own. CPU where the backend runs there;
    TensorRT's is a GPU, and so is PPLNN's in float16.

    Raises:
        UnavailableError: The backend does not run here.
    """
    from posedeploy.sdk import PoseDetector

    sdk = read_folder(folder)
    device = device_of(sdk.model.backend, sdk.precision)
    # the caller has set the limit of pixels as the image was read
    return PoseDetector(folder, device, runtime=runtime, max_pixels=MOST_PIXELS)


def detected_keypoints(detector: PoseDetector, source: ImageSource) -> Keypoints:
    """Keypoints `[N, K, 3]` (image px, score); a file is read as `posedeploy infer` reads it."""
    poses = detector.detect(detector.read(source))
    return with_classes(np.asarray(poses.keypoints, np.float64), poses.labels)


def keypoint_distances(
    deployed: Keypoints,
    pytorch: Keypoints,
    precision: str,
    image_px_per_input_px: float,
    most_people: int | None = None,
) -> Comparison:
    """Match people by the mean distance of their keypoints and measure the distances.

    Keypoints are `[N, K, 3]` and `[M, K, 3]`, image px and score. A deployed detector that keeps
    at most `most_people`, best first, is compared with as many of PyTorch's; None for one without
    such a limit. People of different classes (see `with_classes`) are not the same people.
    """
    pytorch = pytorch[:most_people]
    limit = LIMIT_PX[precision] * max(1.0, image_px_per_input_px)
    apart = np.linalg.norm(deployed[:, None, :, :2] - pytorch[None, :, :, :2], axis=-1)
    cost = np.nan_to_num(apart.mean(axis=-1), nan=FAR_PX, posinf=FAR_PX)
    other = _labels(deployed)[:, None] != _labels(pytorch)[None]
    rows, columns = assigned(cost + FAR_PX * other)
    same = ~other[rows, columns]
    rows, columns = rows[same], columns[same]
    distances = apart[rows, columns]
    unmatched = len(deployed) + len(pytorch) - 2 * len(rows)
    median = float(np.median(distances)) if distances.size else 0.0
    near = float((distances <= limit).mean()) if distances.size else 0.0
    most = float(distances.max(initial=0.0))
    return Comparison(len(rows), unmatched, median, most, limit, near)
