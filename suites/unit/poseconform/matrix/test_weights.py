"""Which weights a cell is judged with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.builders import make_cell
from poseconform.matrix.cells import Model
from poseconform.matrix.weights import weights_for, with_weights
from poseconform.pytest_plugin.recording import base_record

CELL = make_cell()


def yes(_model: Model) -> bool:
    return True


def no(_model: Model) -> bool:
    return False


@pytest.mark.parametrize(("precision", "expected"), [
    ("fp32", "calibrated"), ("fp16", "fitted"), ("bf16", "fitted"), ("int8", "fitted"),
])  # fmt: skip
def test_auto_fits_where_keypoints_need_it(precision: str, expected: str) -> None:
    assert weights_for(CELL.model, precision, "auto", yes) == expected


def test_auto_leaves_detectors_calibrated_and_a_choice_fits_them() -> None:
    detector = make_cell("rtmo").model
    assert weights_for(detector, "int8", "auto", yes) == "calibrated"
    assert weights_for(detector, "int8", "fitted", yes) == "fitted"


def test_a_choice_holds_at_every_precision() -> None:
    for precision in ("fp32", "int8"):
        assert weights_for(CELL.model, precision, "calibrated", yes) == "calibrated"
        assert weights_for(CELL.model, precision, "fitted", yes) == "fitted"


def test_what_cannot_be_fitted_is_calibrated_and_says_so() -> None:
    (cell,) = with_weights([CELL], "fitted", no)
    assert cell.model.weights == "calibrated"
    assert base_record(cell, "", "", "fake").weights == "calibrated"


def test_the_users_own_checkpoint_comes_first() -> None:
    mine = replace(CELL, model=replace(CELL.model, checkpoint="mine.pth"))
    (cell,) = with_weights([mine], "fitted", yes)
    assert cell.model.weights == "user"
    assert base_record(cell, "", "", "fake").weights == "user"


def test_the_record_says_which_weights_were_used() -> None:
    (cell,) = with_weights([CELL], "fitted", yes)
    assert base_record(cell, "", "", "fake").weights == "fitted"
