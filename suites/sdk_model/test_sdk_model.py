"""The SDK model folder describes its files, and a client finds mmpose's keypoints with it."""

from __future__ import annotations

import pytest

from poseconform.checks.declaration import Check
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.checking import perform
from poseconform.pytest_plugin.recording import Notes


@pytest.mark.checks(suite="sdk_model")
def test_sdk_model(cell: Cell, check: Check, judge: Judge, record: Notes) -> None:
    perform(check, judge, cell, record)
