"""The SDK model folder says what is true of its files, and finds mmpose's keypoints."""

from __future__ import annotations

import pytest

from poseconform.checks import table as checks
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import Notes


@pytest.mark.stage("sdk")
def test_deploy_json_describes_the_files(cell: Cell, judge: Judge) -> None:
    checks.require(checks.deploy_json(judge, cell))


@pytest.mark.stage("sdk")
def test_pre_processing_has_the_shape_of_the_graph(cell: Cell, judge: Judge) -> None:
    checks.require(checks.pre_processing_shape(judge, cell))


@pytest.mark.stage("sdk")
def test_client_finds_the_keypoints_that_mmpose_finds(
    cell: Cell, judge: Judge, record: Notes
) -> None:
    verdict = checks.client(judge, cell)
    record(sdk_client_error_px=verdict.pixels, images=verdict.images)
    checks.require(verdict)
