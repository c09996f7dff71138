"""Calibration sets from a folder of the user's images, or from drawn figures.

Images go through the pre-processing that the SDK model will have, so the ranges are those of the
network's inputs in use.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from posedeploy.config import CalibrationSettings, ModelConfig
from posedeploy.errors import BadInputError
from posedeploy.precision.calibration import CalibrationSet
from posedeploy.sdk.fields import Node
from posedeploy.sdk.images import MAX_PIXELS, image_format, read_image
from posedeploy.sdk.transforms import Preprocessor, compile_transforms
from posedeploy.sdk.writer import transforms
from posedeploy.synthetic.drawn import drawn_figures

_LOG = logging.getLogger(__name__)
DRAWN_COUNT = 32
MAX_COUNT = 256  # images of a user's folder; with more the ranges hardly change
_NAMED = 5  # files that a line names
PEOPLE = 3  # in a drawn scene for bottom-up models
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def calibration_set(
    model_config: ModelConfig, settings: CalibrationSettings | None = None
) -> CalibrationSet:
    """The calibration set for a model: by default 32 drawn figures.

    Of a folder, every image is taken up to the count, by default 256. Those that cannot be read
    are left out, with a warning in the log.

    Raises:
        BadInputError: The folder is missing, or there is no image in it that can be read.
    """
    settings = settings or CalibrationSettings()
    preprocessor = model_preprocessor(model_config)
    if settings.images is None:
        return _drawn(preprocessor, settings.count or DRAWN_COUNT)
    max_pixels = settings.max_pixels or MAX_PIXELS
    chosen = _spread(image_files(settings.images), settings.count or MAX_COUNT)
    color_type = preprocessor.color_type
    paths = tuple(path for path in chosen if _readable(path, max_pixels))
    if not paths:
        raise BadInputError(
            f"calibration images {settings.images}", f"{len(chosen)} images, none of which can be "
            "read", "images of people", "See the warnings above for the reasons.",
        )  # fmt: skip
    return CalibrationSet(
        source=f"images of {settings.images}",
        count=len(paths),
        inputs=lambda: (
            _whole(preprocessor, read_image(path, max_pixels, color_type)) for path in paths
        ),
    )


def _readable(path: Path, max_pixels: int) -> bool:
    """Whether an image can be read: a header tells too little."""
    try:
        read_image(path, max_pixels)
    except BadInputError as error:
        _LOG.warning("left out of the calibration: %s", error)
        return False
    return True


def model_preprocessor(model_config: ModelConfig) -> Preprocessor:
    """The pre-processing of the SDK model."""
    # through JSON, as in pipeline.json: a config's tuples are arrays there
    steps = json.loads(json.dumps(transforms(model_config, model_config.input_size)))
    nodes = [Node(step, str(model_config.path)) for step in steps]
    return compile_transforms(nodes)


def _drawn(preprocessor: Preprocessor, count: int) -> CalibrationSet:
    """Figures in their boxes for top-down models; scenes of several people for bottom-up ones."""

    def inputs() -> Iterator[NDArray[np.float32]]:
        if preprocessor.top_down:
            for figure in drawn_figures("calibration", count):
                regions = preprocessor.regions(figure.image, figure.bboxes)
                yield preprocessor.tensor(regions)
        else:
            size = preprocessor.input_size
            for figure in drawn_figures("calibration", count, PEOPLE, size):
                yield _whole(preprocessor, figure.image)

    return CalibrationSet("drawn figures of the split 'calibration'", count, inputs)


def _whole(preprocessor: Preprocessor, image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The whole image as the network's input [1, 3, H, W]."""
    return preprocessor.tensor(preprocessor.regions(image, None))


def image_files(folder: Path) -> tuple[Path, ...]:
    """The images of a folder by name, by their content or by their suffix.

    What else is there is named in the log; what is hidden is not.

    Raises:
        BadInputError: No such folder, or no image in it.
    """
    if not folder.is_dir():
        raise BadInputError(
            f"calibration images {folder}", "a file" if folder.exists() else "no such folder",
            "a folder of images",
            "Check the path; without a folder, drawn figures are used.",
        )  # fmt: skip
    there = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    paths = tuple(p for p in there if p.suffix.lower() in SUFFIXES or image_format(p))
    if others := [path.name for path in there if path not in paths]:
        shown = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        _LOG.warning("left out of the calibration, for they are no images: %s", shown)
    if not paths:
        raise BadInputError(
            f"calibration images {folder}", "no image in it",
            f"files that end in {', '.join(sorted(SUFFIXES))}",
            "Put images of people there: one person each for a top-down model.",
        )  # fmt: skip
    return paths


def _spread(paths: tuple[Path, ...], max_count: int) -> tuple[Path, ...]:
    """At most `max_count` of them, evenly spread: neighbors in a folder are often alike."""
    chosen = np.linspace(0, len(paths) - 1, min(max_count, len(paths))).round().astype(int)
    return tuple(paths[index] for index in chosen)
