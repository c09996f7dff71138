"""Keypoints of the deployed model compared with PyTorch's, on images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from posedeploy.apis.matching import Keypoints, match_people
from posedeploy.apis.progress import Progress, at_stage, silent
from posedeploy.apis.reference import Reference, with_classes
from posedeploy.config import ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.runtime import Runtime, device_of
from posedeploy.runtime.shifts import SHIFT_RULES, Shift, judge_shift
from posedeploy.sdk.folder import read_folder
from posedeploy.sdk.images import MOST_PIXELS
from posedeploy.sdk.reading import ImageSource

if TYPE_CHECKING:
    from torch import nn

    from posedeploy.apis.deploying import Deployment
    from posedeploy.sdk import PoseDetector

FindKeypoints = Callable[[Path, ImageSource], Keypoints]  # of a folder, in an image

BOX_PADDING = 1.25  # of mmpose's GetBBoxCenterScale: the crop is larger than the box by it


@dataclass(frozen=True)
class Comparison:
    """How far the deployed keypoints are from PyTorch's, by the rule of `runtime.shifts`.

    Attributes:
        people: That both found.
        only_one: People that only one of them found.
        shift: The distances of their keypoints, px of the network's input.
        most_only_one: How many people near ties may add or take away.
    """

    people: int
    only_one: int
    shift: Shift
    most_only_one: int = 0

    @property
    def nobody(self) -> bool:
        """True if neither found anybody: there is nothing to compare."""
        return self.people == 0 and self.only_one == 0

    @property
    def same(self) -> bool:
        """True if both found the same people, at least one, with the same keypoints."""
        return self.people > 0 and self.only_one <= self.most_only_one and self.shift.within

    def __str__(self) -> str:
        """The people, the distances and the limits, for a person."""
        people = f"{self.people} {'person' if self.people == 1 else 'people'}"
        if self.only_one:
            most = f" (allowed {self.most_only_one})" if self.most_only_one else ""
            people += f" in both, {self.only_one} in one of them{most}"
        return f"{people}, {self.shift}"


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
    artifact, backend = deployment.artifact, deployment.backend
    reference = Reference(model, model_config, (backend, artifact.precision))
    with at_stage("compare", progress), detector_of(deployment.folder) as detector:
        return tuple(compare_on(detector, reference, image, find=find) for image in images)


def compare_on(
    detector: PoseDetector,
    reference: Reference,
    source: ImageSource,
    *,
    find: FindKeypoints | None = None,
    name: str = "",
    decides: bool = True,
) -> Compared:
    """The same on one image; `name` '' takes that of the image."""
    config, expected = reference.config, reference.keypoints(source)
    look = find or (lambda _folder, image: detected_keypoints(detector, image))
    deployed = look(detector.model.folder, source)
    if len(deployed) and len(expected) and deployed.shape[1] != expected.shape[1]:
        raise BadInputError(
            str(detector.model.folder), f"{deployed.shape[1]} keypoints a person",
            f"{expected.shape[1]}, as {config.path.name} has",
            "Give the model config that it was made of.",
        )  # fmt: skip
    distances = compare_people(deployed, expected, reference, detector, source)
    named = name or (Path(source).name if isinstance(source, str | Path) else "image")
    return Compared(deployed, expected, distances, named, decides)


def compare_people(
    found: Keypoints,
    expected: Keypoints,
    reference: Reference,
    detector: PoseDetector,
    source: ImageSource,
) -> Comparison:
    """Compare the people of two sides on an image by the rule for the reference's precision.

    Keypoints are `[N, K, 3]` and `[M, K, 3]`, image px and score, `expected` in float32. A
    detector that keeps a limited number of people, best first, is compared with as many of
    PyTorch's.
    """
    rule, most = SHIFT_RULES[reference.precision], detector.most_people
    size = np.divide(detector.read(source).shape[1::-1], reference.config.input_size)
    scale = float(size.max()) * (BOX_PADDING if detector.top_down else 1.0)
    expected = expected[:most]
    matched = match_people(found, expected, scale, rule.match_px)
    own, most_only_one = None, 0
    if (rounded := reference.rounded_keypoints(source)) is not None:
        by_torch = match_people(rounded[:most], expected, scale, rule.match_px)
        moved = np.zeros(expected.shape[:2])
        moved[by_torch.people] = by_torch.distances
        own = moved[matched.people]
        most_only_one = int(max(rule.people * len(expected), rule.k * by_torch.only_one))
    shift = judge_shift(
        reference.precision, matched.distances, own, lambda: reference.reach(source)
    )
    return Comparison(len(matched.people), matched.only_one, shift, most_only_one)


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
