"""What a comparison with PyTorch has shown: the same for a conversion and for any artifact."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from posedeploy.apis.comparing import Compared, FindKeypoints, compare_on
from posedeploy.apis.matching import classes_of
from posedeploy.apis.proving import Layers, Response, figures
from posedeploy.apis.reference import Reference
from posedeploy.apis.sources import GENERATED, LOCATING
from posedeploy.sdk.images import MOST_PIXELS, write_image
from posedeploy.sdk.reading import ImageSource, read_for

if TYPE_CHECKING:
    from posedeploy.sdk import PoseDetector
    from posedeploy.sdk.folder import SdkModel

FIGURES = 4  # drawn ones that fitted weights are compared on


class Outcome(StrEnum):
    """What a comparison with PyTorch has shown."""

    SAME = "same"  # at least one person, with the same keypoints; or the layers, where measured
    DIFFERENT = "different"  # other people, other keypoints, outputs that mean nothing, bad layers
    NOTHING = "nothing"  # there was nothing to compare


def outcome_of(
    compared: Sequence[Compared], response: Response, layers: Layers | None = None
) -> Outcome:
    """What the images, the outputs of the graph and its quantized layers have shown."""
    deciding = [one.distances for one in compared if one.decides and not one.distances.nobody]
    wrong_layers = layers is not None and layers.failures
    if response.faults or wrong_layers or not all(one.same for one in deciding):
        return Outcome.DIFFERENT
    if response.unmoved or not (deciding or layers):
        return Outcome.NOTHING
    return Outcome.SAME


def compare_images(
    detector: PoseDetector,
    reference: Reference,
    images: Sequence[ImageSource],
    *,
    kind: str,
    names: Sequence[str] = (),
    find: FindKeypoints | None = None,
) -> tuple[Compared, ...]:
    """Compare keypoints on the images and, for fitted weights, on drawn figures.

    `kind` is the checkpoint, or the word for generated weights: they find nothing in a photograph.
    Rounding can be compared there, and neither int8 nor which of a hundred equal people a detector
    keeps. `names` are those of images that are no files; `find` is as `compare` takes it.
    """
    chance = (kind in GENERATED and reference.precision == "int8") or (
        kind in LOCATING and reference.config.head_kind.bottom_up
    )
    drawn = figures(reference.config, FIGURES) if kind in LOCATING else ()
    on_images = [
        compare_on(detector, reference, image, find=find, decides=not chance, name=name)
        for image, name in zip_longest(images, names, fillvalue="")
    ]
    on_figures = [
        compare_on(detector, reference, figure, find=find, name=f"drawn figure {i}")
        for i, figure in enumerate(drawn)
    ]
    return (*on_images, *on_figures)


def draw_compared(
    folder: Path, sdk: SdkModel, images: Sequence[ImageSource], compared: Sequence[Compared]
) -> tuple[Path, ...]:
    """Draw the keypoints of both on each image, into a folder; the files that were written."""
    from posedeploy.sdk.drawing import draw_poses

    written = []
    for i, (source, result) in enumerate(zip(images, compared, strict=False)):
        suffix, image = "" if i == 0 else f"_{i}", read_for(sdk, source, MOST_PIXELS)
        for name, points in ((sdk.model.backend, result.deployed), ("pytorch", result.pytorch)):
            drawn = draw_poses(image, points[..., :3], sdk.dataset_meta, labels=classes_of(points))
            written.append(folder / f"output_{name}{suffix}.jpg")
            write_image(written[-1], drawn)
    return tuple(written)
