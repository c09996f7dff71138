"""Accuracy of whole deployments on a labeled data set, two-sided against PyTorch.

pytest suites/accuracy --weights locating                            drawn figures
pytest suites/accuracy --weights zoo --dataset coco --data-root DIR  COCO val2017
"""

from __future__ import annotations

import pytest

from poseconform.checks.declaration import Check
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform
from poseconform.pytest_plugin.recording import Notes


@pytest.mark.checks(suite="accuracy")
def test_accuracy(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform(check, judge, cell, record)
