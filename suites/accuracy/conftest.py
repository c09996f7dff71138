"""The data set of an accuracy run: drawn figures, or what `--dataset` says."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from poseconform.datasets.labeled import DataSet, from_people, read_coco
from poseconform.matrix.cells import Model
from posedeploy.synthetic.drawn import SIZE, drawn_figures

# One person a image for models that are given boxes; several for those that find the people: as
# many as their fitted weights were fitted to.
IMAGES, SCENES, PEOPLE = 100, 40, 2


@cache
def drawn(bottom_up: bool) -> DataSet:
    count, people = (SCENES, PEOPLE) if bottom_up else (IMAGES, 1)
    figures = drawn_figures("evaluation", count, people)
    return from_people(
        f"{count} drawn images",
        f"drawn evaluation {count} x {people} at {SIZE}",
        [(figure.image, figure.bboxes, figure.keypoints) for figure in figures],
    )


@pytest.fixture(scope="session")
def data_for(request: pytest.FixtureRequest) -> Callable[[Model], DataSet]:
    """Gives the data set for a model."""
    option = request.config.option
    if option.dataset == "coco":
        if option.data_root is None:
            raise pytest.UsageError(
                "--dataset coco: found no --data-root; expected the folder with COCO's "
                "annotations/ and val2017/. Add --data-root DIR."
            )
        whole = read_coco(option.data_root, most=option.max_images)
        return lambda _: whole
    return lambda model: drawn(model.bottom_up)
