"""Which weights a cell is judged with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.builders import make_cell
from poseconform.matrix.cells import Model
from poseconform.matrix.weights import weights_for, with_weights
from poseconform.pytest_plugin.recording import base_record

CELL = make_cell()


def all_kinds(_model: Model) -> tuple[str, ...]:
    return ("trained", "fitted")


def fitted(_model: Model) -> tuple[str, ...]:
    return ("fitted",)


def none(_model: Model) -> tuple[str, ...]:
    return ()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("head", ["simcc", "rtmo"])
def test_auto_takes_trained_weights_wherever_there_are_some(precision: str, head: str) -> None:
    assert weights_for(make_cell(head).model, precision, "auto", all_kinds) == "trained"


@pytest.mark.parametrize(("precision", "expected"), [
    ("fp32", "calibrated"), ("fp16", "fitted"), ("bf16", "fitted"), ("int8", "fitted"),
])  # fmt: skip
def test_auto_fits_where_keypoints_need_it(precision: str, expected: str) -> None:
    assert weights_for(CELL.model, precision, "auto", fitted) == expected
    detector = make_cell("rtmo").model
    assert weights_for(detector, precision, "auto", fitted) == "calibrated"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("kind", ["calibrated", "fitted", "trained", "zoo"])
def test_a_choice_holds_at_every_precision(precision: str, kind: str) -> None:
    assert weights_for(CELL.model, precision, kind, all_kinds) == kind


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_locating_takes_the_better_of_those_that_find_figures(precision: str) -> None:
    assert weights_for(CELL.model, precision, "locating", all_kinds) == "trained"
    assert weights_for(CELL.model, precision, "locating", fitted) == "fitted"
    assert weights_for(CELL.model, precision, "locating", none) == "calibrated"


@pytest.mark.parametrize("kind", ["fitted", "trained"])
def test_what_has_no_such_weights_is_calibrated_and_says_so(kind: str) -> None:
    (cell,) = with_weights([CELL], kind, none)
    assert cell.model.weights == "calibrated"
    assert base_record(cell, "", "", "fake").weights == "calibrated"


def test_the_users_own_checkpoint_comes_first() -> None:
    mine = replace(CELL, model=replace(CELL.model, checkpoint="mine.pth"))
    (cell,) = with_weights([mine], "trained", all_kinds)
    assert cell.model.weights == "user"
    assert base_record(cell, "", "", "fake").weights == "user"


def test_the_record_says_which_weights_were_used() -> None:
    (cell,) = with_weights([CELL], "fitted", fitted)
    assert base_record(cell, "", "", "fake").weights == "fitted"
