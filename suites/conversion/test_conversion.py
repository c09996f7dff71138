"""Every model converts through every deploy config that fits, to a graph others can read."""

from __future__ import annotations

import pytest

from poseconform.checks import table as checks
from poseconform.checks.onnx_facts import graph_facts
from poseconform.judge.conversions import stage_records
from poseconform.judge.judge import Judge
from poseconform.matrix.cells import Cell
from poseconform.pytest_plugin.recording import Notes
from poseconform.results.records import ArtifactRecord


@pytest.mark.anywhere
@pytest.mark.stage("convert")
def test_converts_to_an_sdk_model(cell: Cell, judge: Judge, record: Notes) -> None:
    conversion = judge.conversion(cell)
    record.stages += stage_records(conversion)
    record(
        artifacts=tuple(
            ArtifactRecord(n, sha, size) for n, (sha, size) in conversion.files.items()
        ),
        checkpoint_sha256=conversion.checkpoint_sha256,
    )
    assert {"deploy.json", "detail.json", "pipeline.json"} <= set(conversion.files)


@pytest.mark.stage("contract")
@pytest.mark.flows(backend="onnxruntime")
def test_graph_can_be_read_by_others(cell: Cell, judge: Judge, record: Notes) -> None:
    record(graph=graph_facts(judge.conversion(cell).folder / "end2end.onnx").record)
    checks.require(checks.graph(judge, cell))


@pytest.mark.stage("contract")
@pytest.mark.flows(backend="onnxruntime")
def test_batch_is_the_only_dynamic_dimension_and_is_called_so(cell: Cell, judge: Judge) -> None:
    checks.require(checks.batch_dimension(judge, cell))
