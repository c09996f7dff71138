"""Every model converts through every deploy config that fits, to a graph that others can read."""

from __future__ import annotations

import pytest

from poseconform.checks.declaration import Check
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform
from poseconform.pytest_plugin.recording import Notes


@pytest.mark.checks(suite="conversion")
def test_conversion(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform(check, judge, cell, record)
