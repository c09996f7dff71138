"""PyTorch's keypoints on figures: the network's own pixels, and the truth in the same ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fixtures.builders import make_model
from fixtures.figures import evaluation_figures
from fixtures.tiny_models import TinyModel
from poseconform.reference.errors import REF_ERRORS
from poseconform.reference.figures import write_figures, write_rounding
from poseconform.reference.values import FigureReference, read_figures, read_rounding


@pytest.fixture(scope="module")
def found(
    tiny_model: Callable[[str], TinyModel], tmp_path_factory: pytest.TempPathFactory
) -> FigureReference:
    tiny, folder = tiny_model("rtmpose_t"), tmp_path_factory.mktemp("accuracy")
    model = make_model(config=str(tiny.config))
    write_figures(model, str(tiny.checkpoint), evaluation_figures(3), str(folder))
    return read_figures(Path(folder))


def test_there_is_an_input_and_a_truth_for_every_figure(found: FigureReference) -> None:
    assert found.keypoints.shape == found.truth.shape == (3, 17, 2)
    assert found.inputs.dtype == np.float32
    assert found.sizes.shape == (3, 2)


def test_what_rounding_does_is_within_its_reach(
    tiny_model: Callable[[str], TinyModel], tmp_path: Path, found: FigureReference
) -> None:
    tiny = tiny_model("rtmpose_t")
    model = make_model(config=str(tiny.config))
    reach = {}
    for precision in ("fp16", "bf16"):
        write_rounding(
            model, str(tiny.checkpoint), precision, evaluation_figures(3), str(tmp_path)
        )
        rounding = read_rounding(tmp_path)
        moved = np.linalg.norm(rounding.keypoints - found.keypoints, axis=-1)
        assert moved.shape == rounding.reach.shape == (3, 17)
        assert (moved <= rounding.reach).all()
        reach[precision] = rounding.reach
    assert (reach["fp16"] < reach["bf16"]).mean() > 0.5


def test_the_truth_lies_on_the_discs_of_the_network_input(found: FigureReference) -> None:
    """All joints are inside, and differ from their surroundings where they are said to be."""
    height, width = found.inputs.shape[2:]
    assert (found.truth >= 0).all()
    assert (found.truth <= [width, height]).all()
    # the box is the crop less its padding of a quarter, on at least one side
    relative = (found.sizes / [width, height]).max(axis=1)
    assert relative == pytest.approx(1 / 1.25, rel=0.02)
    colors = []
    for image, joints in zip(found.inputs, found.truth, strict=True):
        x, y = np.clip(np.round(joints).astype(int), 0, [width - 1, height - 1]).T
        colors.append(image[:, y, x].T)
    # each joint has a color of its own, the same in every figure
    spread = np.std(colors, axis=0).mean()
    assert spread < 0.5 * np.std(colors, axis=1).mean()


def test_every_precision_of_the_tables_has_a_ref_error() -> None:
    assert set(REF_ERRORS) == {"bf16", "fp16", "fp32", "int8"}
    assert REF_ERRORS["int8"] == REF_ERRORS["fp32"]
