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
from posedeploy.runtime.shifts import SHIFT_RULES, Spread, allowed_shift
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
    """How far the deployed keypoints are from PyTorch's; distances in px of the network's input.

    The rule is that of `posedeploy.runtime.shifts`.

    Attributes:
        people: That both found.
        only_one: People that only one of them found.
        shift: The distances.
        allowed: How far keypoints may move.
        judged: The distances with those of near ties as 0; None for `shift`.
        own: What PyTorch's own rounding to the precision does; None for float32.
        near_ties: How many keypoints moved that are near ties.
        most_only_one: How many people near ties may add or take away.
    """

    people: int
    only_one: int
    shift: Spread
    allowed: Spread
    judged: Spread | None = None
    own: Spread | None = None
    near_ties: int = 0
    most_only_one: int = 0

    @property
    def nobody(self) -> bool:
        """True if neither found anybody: there is nothing to compare."""
        return self.people == 0 and self.only_one == 0

    @property
    def same(self) -> bool:
        """True if both found the same people, at least one, with the same keypoints."""
        near = (self.judged or self.shift).within(self.allowed)
        return self.people > 0 and self.only_one <= self.most_only_one and near

    def __str__(self) -> str:
        """The distances and the limits, for a person."""
        people = f"{self.people} {'person' if self.people == 1 else 'people'}"
        if self.only_one:
            most = f" (allowed {self.most_only_one})" if self.most_only_one else ""
            people += f" in both, {self.only_one} in one of them{most}"
        ties = f", {self.near_ties} of near ties" if self.near_ties else ""
        own = f"; PyTorch's own rounding: {_figures(self.own)}" if self.own else ""
        allowed = " / ".join(f"{figure:.3g}" for figure in dict.fromkeys(self.allowed.figures))
        return (
            f"{people}, median {self.shift.median:.3g} px, 95th percentile {self.shift.p95:.3g} px, "
            f"at most {self.shift.max:.3g} px apart{ties} (allowed {allowed} px{own})"
        )


def _figures(spread: Spread) -> str:
    return " / ".join(f"{figure:.3g}" for figure in spread.figures) + " px"


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
    distances = judge_shift(deployed, expected, reference, detector, source)
    named = name or (Path(source).name if isinstance(source, str | Path) else "image")
    return Compared(deployed, expected, distances, named, decides)


def judge_shift(
    found: Keypoints,
    expected: Keypoints,
    reference: Reference,
    detector: PoseDetector,
    source: ImageSource,
) -> Comparison:
    """Compare the people of two sides on an image by the rule for the reference's precision.

    Keypoints are `[N, K, 3]` and `[M, K, 3]`, image px and score, `expected` in float32. A detector
    that keeps a limited number of people, best first, is compared with as many of PyTorch's.

    A keypoint is a near tie if PyTorch's own rounding moves it much farther than most, or if its
    outputs are so near a tie that honest rounding can move it as far as it has moved. The latter
    takes PyTorch a few runs, and is looked for only where keypoints moved too far.
    """
    rule, expected = SHIFT_RULES[reference.precision], expected[: detector.most_people]
    size = np.divide(detector.read(source).shape[1::-1], reference.config.input_size)
    scale = float(size.max()) * (BOX_PADDING if detector.top_down else 1.0)
    matched = match_people(found, expected, scale, rule.match_px)
    apart, ties = matched.distances, np.zeros(matched.distances.shape, bool)
    own, most_only_one, allowed = None, 0, allowed_shift(reference.precision, Spread())
    if (rounded := reference.rounded_keypoints(source)) is not None:
        by_torch = match_people(rounded[: detector.most_people], expected, scale, rule.match_px)
        own, moved = by_torch.spread, np.zeros(expected.shape[:2])
        moved[by_torch.people] = by_torch.distances
        flipped = moved > rule.floor_px + rule.k * own.p95
        allowed = allowed_shift(reference.precision, Spread.of(np.where(flipped, 0.0, moved)))
        ties = flipped[matched.people]
        most_only_one = int(max(rule.people * len(expected), rule.k * by_torch.only_one))
    judged = Spread.of(np.where(ties, 0.0, apart))
    if not judged.within(allowed):
        ties |= (apart > rule.floor_px) & (apart <= rule.floor_px + reference.reach(source))
        judged = Spread.of(np.where(ties, 0.0, apart))
    return Comparison(
        len(matched.people), matched.only_one, matched.spread, allowed, judged, own,
        int((ties & (apart > rule.floor_px)).sum()), most_only_one,
    )  # fmt: skip


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
