"""Accuracy of whole deployments on a labeled data set, two-sided against PyTorch.

pytest suites/accuracy --weights fitted                              drawn figures
pytest suites/accuracy --weights zoo --dataset coco --data-root DIR  COCO val2017
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poseconform.datasets.judging import failures, flow_score, limit_for, pytorch_score, refusal
from poseconform.datasets.labeled import DataSet
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell, Model
from poseconform.pytest_plugin.recording import Notes
from poseconform.results.records import DatasetRecord


@pytest.mark.stage("keypoints")  # through the client; what is declared of a flow's keypoints holds
def test_accuracy_is_pytorchs(
    cell: Cell, judge: Judge, record: Notes, data_for: Callable[[Model], DataSet]
) -> None:
    data = data_for(cell.model)
    reference = pytorch_score(judge, cell.model, data)
    if why := refusal(cell.model, reference):  # before minutes are spent on a conversion
        pytest.skip(f"refused:{why}")
    found = flow_score(judge, cell, data)
    record(
        dataset=DatasetRecord(
            data.name, len(data.images), found.ap, reference.ap, found.ar, reference.ar,
            found.pck, reference.pck,
        )
    )  # fmt: skip
    said = failures(found, reference, limit_for(cell.model.family, cell.flow.precision))
    assert not said, "; ".join(said)
